"""Composition of batches, and the sending state machine."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licet_billing.clients.escrow import reply_of
from licet_billing.domain.settlement import (
    BATCH_GAS,
    GROUP_GAS,
    LINE_GAS,
    MAX_GAS,
    MAX_ITEMS,
    Answer,
    Attempt,
    AttemptState,
    Batch,
    BatchKey,
    BatchState,
    Broadcast,
    Conflict,
    Fees,
    Inclusion,
    Leaf,
    Settled,
    Sighting,
    Sign,
    Timing,
    Wait,
    compose,
    next_step,
)

ROOT = "0x" + "ab" * 32
TIMING = Timing(resend_after_s=5, bump_after_s=30)
FIRST = Attempt("0x01", 7, b"raw", Fees(100, 10), AttemptState.SENT, signed_at=1000, sent_at=1000)
BATCH = Batch(BatchKey(31337, "0x0e", 3), ROOT, BatchState.SUBMITTED, (FIRST,))
NOTHING = Sighting(inclusions={}, root_on_chain="", final_block=10, next_nonce=7, now=1001)
IN_BLOCK = Inclusion(block_number=12, block_hash="0xb12", ok=True, settled=True)


def test_new_batch_is_signed_before_anything_is_sent() -> None:
    assert next_step(replace(BATCH, attempts=()), NOTHING, 7, TIMING) == Sign(7, replaces=None)


@pytest.mark.parametrize("state", [AttemptState.SIGNED, AttemptState.UNKNOWN])
def test_stored_bytes_are_sent_again_when_nobody_knows_whether_they_left(state: AttemptState) -> None:
    attempt = replace(FIRST, state=state)
    assert next_step(replace(BATCH, attempts=(attempt,)), NOTHING, 7, TIMING) == Broadcast(attempt)


def test_sent_transaction_is_waited_for_then_resent_then_replaced_at_the_same_nonce() -> None:
    assert next_step(BATCH, NOTHING, 7, TIMING) == Wait()
    assert next_step(BATCH, replace(NOTHING, now=1005), 7, TIMING) == Broadcast(FIRST)
    assert next_step(BATCH, replace(NOTHING, now=1030), 7, TIMING) == Sign(7, replaces=FIRST)


def test_fee_is_not_raised_for_a_batch_whose_turn_has_not_come() -> None:
    assert next_step(BATCH, replace(NOTHING, next_nonce=6, now=1030), 7, TIMING) == Broadcast(FIRST)


def test_included_batch_is_final_once_its_block_is() -> None:
    seen = replace(NOTHING, inclusions={"0x01": IN_BLOCK}, root_on_chain=ROOT, next_nonce=8)
    assert next_step(BATCH, seen, 8, TIMING) == Settled("0x01", IN_BLOCK, final=False)
    assert next_step(BATCH, replace(seen, final_block=12), 8, TIMING) == Settled("0x01", IN_BLOCK, final=True)


def test_batch_whose_block_left_the_chain_is_sent_again_with_the_same_bytes() -> None:
    included = replace(BATCH, state=BatchState.INCLUDED)
    assert next_step(included, NOTHING, 7, TIMING) == Broadcast(FIRST)


def test_reverted_transaction_has_spent_its_nonce_and_the_batch_gets_the_next() -> None:
    reverted = replace(IN_BLOCK, ok=False, settled=False)
    seen = replace(NOTHING, inclusions={"0x01": reverted}, next_nonce=8)
    assert next_step(BATCH, seen, 8, TIMING) == Sign(8, replaces=None)


def test_nonce_spent_by_a_stranger_is_given_up() -> None:
    assert next_step(BATCH, replace(NOTHING, next_nonce=8), 8, TIMING) == Sign(8, replaces=None)


def test_batch_on_chain_without_a_receipt_is_looked_at_again() -> None:
    assert next_step(BATCH, replace(NOTHING, root_on_chain=ROOT), 7, TIMING) == Wait()


def test_other_content_under_our_number_stops() -> None:
    seen = replace(NOTHING, root_on_chain="0x" + "cd" * 32)
    assert next_step(BATCH, seen, 7, TIMING) == Conflict("0x" + "cd" * 32)


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**12))
def test_replacement_raises_both_fees_by_a_tenth_at_least(a: int, b: int, c: int, d: int) -> None:
    bumped = Fees(a, b).bumped(Fees(c, d))
    assert bumped.max_fee * 10 > a * 11
    assert bumped.priority_fee * 10 > b * 11
    assert bumped.max_fee >= c
    assert bumped.priority_fee >= d


def test_fee_of_an_attempt_that_no_node_took_rises_only_where_the_market_has_outgrown_it() -> None:
    refused = replace(FIRST, fees=Fees(100, 10), state=AttemptState.SIGNED)
    assert refused.replacement_fees(Fees(100, 10)) is None
    assert refused.replacement_fees(Fees(90, 9)) is None
    assert refused.replacement_fees(Fees(1000, 12)) == Fees(1000, 13)
    assert replace(refused, fees=Fees(900, 10)).replacement_fees(Fees(100, 12)) is None
    taken = replace(refused, state=AttemptState.SENT)
    assert taken.replacement_fees(Fees(100, 10)) == Fees(126, 13)
    assert replace(taken, fees=Fees(900, 10)).replacement_fees(Fees(100, 10)) is None


@given(st.integers(1, 10**15), st.integers(0, 10**12), st.integers(1, 10**15), st.integers(0, 10**12))
def test_pool_that_holds_what_a_crash_left_as_signed_takes_its_replacement(
    a: int, b: int, c: int, d: int
) -> None:
    """A node takes a transaction in the place of another where both its fees are a tenth higher."""
    left = replace(FIRST, fees=Fees(a, b), state=AttemptState.SIGNED)
    fees = left.replacement_fees(Fees(c, d))
    if fees is not None:
        assert fees.max_fee * 10 >= a * 11
        assert fees.priority_fee * 10 >= b * 11


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ("already known", Answer.SENT),
        ("insufficient funds for gas * price + value", Answer.REFUSED),
        ("INSUFFICIENT_FUNDS", Answer.REFUSED),
        ("InsufficientFunds, Account balance: 0", Answer.REFUSED),
        ("nonce too low: next nonce 8, tx nonce 7", Answer.REFUSED),
        ("replacement transaction underpriced", Answer.REFUSED),
        ("max fee per gas less than block base fee", Answer.REFUSED),
        ("intrinsic gas too low", Answer.REFUSED),
        ("request timed out", Answer.UNKNOWN),
    ],
)
def test_only_what_proves_it_is_a_refusal(message: str, answer: Answer) -> None:
    assert reply_of(message).answer is answer


leaves = st.builds(
    Leaf,
    request_id=st.uuids().map(str),
    deposit_id=st.integers(0, 90).map(str),
    asset_id=st.integers(0, 9).map(str),
    authority=st.sampled_from(["", "m", "n"]),
    window=st.integers(0, 1),
    currency=st.sampled_from(["usd", "eur", "gbp"]),
    payer=st.just("0xfa"),
    amount=st.integers(1, 100),
    receipt_hash=st.just(bytes(32)),
    salt=st.just(bytes(32)),
).map(lambda leaf: replace(leaf, currency="usd" if int(leaf.deposit_id) % 2 else "eur"))


@given(
    st.lists(leaves, max_size=200, unique_by=lambda leaf: leaf.request_id),
    st.integers(0, 4000),
    st.integers(0, 4000),
)
def test_composition_takes_each_charge_once_within_caps_and_size(
    charges: list[Leaf], usd: int, eur: int
) -> None:
    lines = compose(charges, {"usd": usd, "eur": eur})
    taken = [charge.request_id for line in lines for charge in line.charges]
    assert len(taken) == len(set(taken))
    assert set(taken) <= {charge.request_id for charge in charges}
    assert len(lines) <= MAX_ITEMS
    keys = [(line.deposit_id, line.authority, line.window, line.asset_id, line.currency) for line in lines]
    assert len(set(keys)) == len(keys)
    for key, line in zip(keys, lines, strict=True):
        assert {(c.deposit_id, c.authority, c.window, c.asset_id, c.currency) for c in line.charges} == {key}
    groups = [group for group, _ in groupby(keys, lambda key: key[3:])]
    assert len(set(groups)) == len(groups), "lines of one group stand side by side"
    assert BATCH_GAS + GROUP_GAS * len(groups) + LINE_GAS * len(lines) <= MAX_GAS
    for currency, cap in (("usd", usd), ("eur", eur)):
        assert sum(line.amount for line in lines if line.currency == currency) <= cap


def test_batch_costs_no_more_gas_than_a_transaction_may() -> None:
    def leaf(number: int, asset: int) -> Leaf:
        return Leaf(str(number), str(number), str(asset), "usd", "0xfa", 1, bytes(32), bytes(32))

    of_one = compose([leaf(number, 0) for number in range(1000)], {"usd": 10**9})
    of_many = compose([leaf(number, number) for number in range(1000)], {"usd": 10**9})
    assert len(of_one) == MAX_ITEMS
    assert len(of_many) == (MAX_GAS - BATCH_GAS) // (GROUP_GAS + LINE_GAS) < MAX_ITEMS


def test_charge_above_the_cap_is_not_overtaken() -> None:
    def leaf(number: int, amount: int) -> Leaf:
        return Leaf(str(number), "d", "a", "usd", "0xfa", amount, bytes(32), bytes(32))

    lines = compose([leaf(1, 5), leaf(2, 100), leaf(3, 1)], {"usd": 50})
    assert [charge.request_id for charge in lines[0].charges] == ["1"]
