"""A license that its holder takes into the next generation is one license, in whichever contract its token is."""

from __future__ import annotations

from typing import Any

import pytest
from licet_indexer.domain import payloads as p
from licet_indexer.domain import rows as r
from licet_indexer.domain.catalogue import WATCHED, Catalogue, UnknownEvent
from licet_indexer.domain.chain import ZERO_ADDRESS, Chain, ChainId, Finality, Log, Site
from licet_indexer.domain.mirror import UnknownLicense, fold
from licet_indexer.testing.emitter import event_entry
from licet_schemas.abi import load_abi

CONTRACTS = {name: f"0x{index:040x}" for index, name in enumerate(WATCHED, 1)}
NEW, OLD, OLD_SALE = CONTRACTS["License"], "0x" + "0d" * 20, "0x" + "05" * 20
FORMER = {"License": (OLD,), "LicenseSale": (OLD_SALE,)}
CHAIN = Chain(ChainId(1), "unit", "", Finality("tag"), 0, 1.0, CONTRACTS, FORMER)
CATALOGUE = Catalogue(CHAIN, {name: load_abi(name) for name in WATCHED})
ALICE, ASSET = "0x" + "a1" * 20, "0x" + "a5" * 32
FIRST, FRESH = 7, (1 << 64) + 1
TERM = {"startTime": 10, "endTime": 90, "ordinal": 2, "trial": False}


def said(name: str, emitter: str, block: int, rows: r.Rows, **values: Any) -> p.Payload:
    entry = event_entry(name.partition(".")[0], name.partition(".")[2], values)
    topics = [entry[32 + 32 * i : 64 + 32 * i] for i in range(int.from_bytes(entry[:32]))]
    data = "0x" + entry[192 : 192 + int.from_bytes(entry[160:192])].hex()
    log = Log("", block, 0, "", emitter, tuple("0x" + topic.hex() for topic in topics), data)
    payload = CATALOGUE.read(log).payload
    assert payload is not None
    at = Site(ChainId(1), block, f"0x{block:064x}", 1_700_000_000, "0x" + "22" * 32, 0, emitter, 1)
    return fold(payload, at, CHAIN, rows)


def bought(token_id: int, sale: str, rows: r.Rows) -> None:
    whose = {"assetId": bytes.fromhex(ASSET[2:]), "payer": ALICE, "recipient": ALICE, "price": 1}
    said("LicenseSale.LicensePurchased", sale, 1, rows, tokenId=token_id, planId=3, **whose, **TERM)


def license_row(rows: r.Rows, token_id: int) -> r.License:
    row = rows.get(r.License, 1, token_id)
    assert row is not None
    return row


def test_both_generations_are_watched() -> None:
    assert {OLD, OLD_SALE, NEW} < set(CATALOGUE.addresses)


def test_a_license_keeps_its_row_and_gets_its_contract() -> None:
    rows = r.Rows({})
    bought(FIRST, OLD_SALE, rows)
    assert license_row(rows, FIRST).contract == OLD
    said("License.Transfer", OLD, 2, rows, **{"from": ALICE, "to": ZERO_ADDRESS, "tokenId": FIRST})
    assert license_row(rows, FIRST).holder == ZERO_ADDRESS
    values = {"tokenId": FIRST, "planId": 3, "from": OLD, "holder": ALICE}
    told = said("License.LicenseMigrated", NEW, 2, rows, **values, **TERM)
    assert told == p.LicenseMigrated(FIRST, 3, ASSET, OLD, ALICE, 10, 90, 2, False)
    row = license_row(rows, FIRST)
    assert (row.holder, row.contract, row.payer, row.price) == (ALICE, NEW, ALICE, 1)


def test_a_license_of_the_next_generation_is_another_one() -> None:
    rows = r.Rows({})
    bought(FIRST, OLD_SALE, rows)
    bought(FRESH, CONTRACTS["LicenseSale"], rows)
    assert (license_row(rows, FIRST).contract, license_row(rows, FRESH).contract) == (OLD, NEW)


def test_a_migration_of_a_license_that_was_never_sold_is_no_event() -> None:
    values = {"tokenId": FIRST, "planId": 3, "from": OLD, "holder": ALICE}
    with pytest.raises(UnknownLicense):
        said("License.LicenseMigrated", NEW, 2, r.Rows({}), **values, **TERM)


def test_a_generation_that_is_not_configured_is_nobody() -> None:
    entry = event_entry("License", "Transfer", {"from": ALICE, "to": ALICE, "tokenId": 1})
    topic = "0x" + entry[32:64].hex()
    with pytest.raises(UnknownEvent):
        CATALOGUE.read(Log("", 1, 0, "", "0x" + "77" * 20, (topic,), "0x"))
