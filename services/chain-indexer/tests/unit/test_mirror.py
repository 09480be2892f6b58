"""The fold: what it reads is declared, what it changes can be taken back."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from licet_indexer.domain import payloads as p
from licet_indexer.domain import rows as r
from licet_indexer.domain import settled as s
from licet_indexer.domain.catalogue import WATCHED, Catalogue
from licet_indexer.domain.chain import Chain, ChainId, Finality, Log, Site
from licet_indexer.domain.mirror import UnknownLicense, fold, touched
from licet_indexer.testing.story import Story
from licet_kit.errors import PermanentError
from licet_schemas.abi import load_abi

CONTRACTS = {name: f"0x{index:040x}" for index, name in enumerate(WATCHED, 1)}
CHAIN = Chain(ChainId(1), "unit", "", Finality("tag"), 0, 1.0, CONTRACTS)
CATALOGUE = Catalogue(CHAIN, {name: load_abi(name) for name in WATCHED})


def site(block: int) -> Site:
    return Site(ChainId(1), block, f"0x{block:064x}", 1_700_000_000 + block, "0x" + "22" * 32, 0, "0xc0", 1)


def payloads(seed: int, count: int) -> list[p.Payload]:
    story, found = Story(random.Random(seed)), list[p.Payload]()
    for _ in range(count):
        contract, entry = story.next()
        topics = int.from_bytes(entry[:32])
        words = [entry[32 + 32 * i : 64 + 32 * i] for i in range(topics)]
        size = int.from_bytes(entry[160:192])
        data = "0x" + entry[192 : 192 + size].hex()
        log = Log("", 1, 0, "", CONTRACTS[contract], tuple("0x" + word.hex() for word in words), data)
        try:
            reading = CATALOGUE.read(log)
        except PermanentError:
            continue
        if reading.payload:
            found.append(reading.payload)
    return found


class Declared(r.Rows):
    """Refuses what the event did not declare."""

    allowed: set[r.RowKey]

    def get(self, table: type[r.RowT], *key: int | str) -> r.RowT | None:
        assert (table, key) in self.allowed
        return super().get(table, *key)

    def put(self, row: r.Row) -> None:
        assert r.key_of(row) in self.allowed
        super().put(row)


@given(st.integers(0, 10**9))
def test_fold_touches_only_what_it_declares(seed: int) -> None:
    rows = Declared({})
    for block, payload in enumerate(payloads(seed, 30)):
        rows.allowed = set(touched(payload, 1))
        try:
            fold(payload, site(block), CHAIN, rows)
        except UnknownLicense:
            continue


@given(st.integers(0, 10**9), st.integers(1, 9))
def test_undo_of_the_blocks_above_a_height_gives_the_rows_of_that_height(seed: int, height: int) -> None:
    """Against the same fold stopped there: undo is the inverse, whatever happened after."""
    events = [(index // 4, payload) for index, payload in enumerate(payloads(seed, 60))]
    whole, stopped = r.Rows({}), r.Rows({})
    for block, payload in events:
        for rows in (whole, stopped) if block <= height else (whole,):
            try:
                fold(payload, site(block), CHAIN, rows)
            except UnknownLicense:
                continue
    state = {r.key_of(row): row for row in whole.changed()}
    for entry in sorted(whole.undo(above=height), key=lambda entry: -entry.block_number):
        if entry.before is None:
            del state[entry.key]
        else:
            state[entry.key] = entry.before
    assert state == {r.key_of(row): row for row in stopped.changed()}


def group(*lines: s.SettledLine, first: int = 0) -> s.GroupSettled:
    due, paid = sum(line.due for line in lines), sum(line.paid for line in lines)
    return s.GroupSettled("0xbb", 1, "0xa5", "0xcc", first, due, paid, 99, lines)


DEPOSIT = p.Deposited("0xde", "0xaa", "0xbb", "0xcc", 100, 100, 100)


def test_settlement_from_an_exit_keeps_the_spendable_balance() -> None:
    """As the escrow emits it: the draw of the exit first, then the item with everything that was paid."""
    rows = r.Rows({})
    exit_ = p.ExitRequested(1, "0xde", "0xaa", "0xbb", "0xcc", 30, 9, 70, 70)
    drawn = p.ExitDrawn(1, "0xde", "0xaa", "0xbb", "0xcc", 20, 10, 90)
    for payload in (DEPOSIT, exit_, drawn, group(s.SettledLine("0xde", "0x00", 90, 90, 0, 5))):
        fold(payload, site(1), CHAIN, rows)
    deposit = rows.get(r.Deposit, 1, "0xde")
    waiting = rows.get(r.Exit, 1, 1)
    assert deposit is not None
    assert waiting is not None
    assert (deposit.total, deposit.drawn) == (90, 90)
    assert (waiting.amount, waiting.drawn) == (30, 20)


def test_each_line_of_a_group_is_booked_on_its_deposit() -> None:
    rows = r.Rows({})
    direct = s.SettledLine("0xde", "0x00", 30, 30, 0, 5)
    by_mandate = s.SettledLine("0xde", "0x4d", 90, 60, 3, 2)
    for payload in (DEPOSIT, group(direct, by_mandate, first=4)):
        fold(payload, site(1), CHAIN, rows)
    deposit = rows.get(r.Deposit, 1, "0xde")
    assert deposit is not None
    assert (deposit.total, deposit.drawn) == (100, 90)
    line = rows.get(r.SettlementItem, 1, "0xbb", 1, 5)
    assert line is not None
    assert (line.authority, line.window, line.due, line.paid, line.records) == ("0x4d", 3, 90, 60, 2)


def test_hold_is_refunded_and_released() -> None:
    rows = r.Rows({})
    lines = [s.SettledLine("0xde", "0x00", 30, 30, 0, 5), s.SettledLine("0xdf", "0x00", 9, 9, 0, 1)]
    refund = s.DrawRefunded("0x11", "0xaa", "0xbb", 1, 1, "0xa5", "0xcc", 9)
    release = s.HoldReleased("0xbb", 1, "0xa5", "0xcc", 30)
    for payload in (DEPOSIT, group(*lines), refund, release):
        fold(payload, site(1), CHAIN, rows)
    hold = rows.get(r.Hold, 1, "0xbb", 1, "0xa5", "0xcc")
    line = rows.get(r.SettlementItem, 1, "0xbb", 1, 1)
    assert hold is not None
    assert line is not None
    assert (hold.paid, hold.refunded, hold.released, hold.release_at) == (39, 9, 30, 99)
    assert (line.paid, line.refunded) == (9, 9)
    deposit = rows.get(r.Deposit, 1, "0xde")
    assert deposit is not None
    assert (deposit.total, deposit.drawn) == (100, 30), "a refund goes to the wallet"


def test_ban_of_direct_draws_outlives_a_deposit_that_comes_later() -> None:
    rows = r.Rows({})
    fold(s.DirectDrawsSet("0xde", "0xaa", "0xbb", "0xcc", 77), site(1), CHAIN, rows)
    fold(DEPOSIT, site(2), CHAIN, rows)
    deposit = rows.get(r.Deposit, 1, "0xde")
    assert deposit is not None
    assert (deposit.total, deposit.direct_until) == (100, 77)


def test_transfer_of_a_license_is_completed_from_its_purchase() -> None:
    rows = r.Rows({})
    fold(p.LicensePurchased(5, 2, "0xa5", "0xaa", "0xab", 1, 10, 20), site(1), CHAIN, rows)
    moved = p.LicenseTransferred(5, 0, "", "0xab", "0xac")
    assert fold(moved, site(2), CHAIN, rows) == replace(moved, plan_id=2, asset_id="0xa5")
    held = rows.get(r.License, 1, 5)
    assert held is not None
    assert (held.holder, held.contract) == ("0xac", CONTRACTS["License"])
