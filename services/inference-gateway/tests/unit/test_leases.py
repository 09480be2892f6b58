"""The lease book under scripted answers and a hand-driven clock. The double of licensing only records and replies."""

from __future__ import annotations

from dataclasses import replace

import pytest
from licet_gateway.dataplane.clock import MS, SECOND
from licet_gateway.dataplane.leases import ASK_WAIT_NS, LeaseBook
from licet_gateway.dataplane.refusals import LICENSING_SILENT
from licet_gateway.domain import Credential, Limits, Outcome
from licet_gateway.testing.lease_desk import (
    CALLER,
    EXHAUSTED,
    MISSING,
    SLUG,
    TERMS,
    Desk,
    end,
    finish,
    wait,
)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def book(desk: Desk) -> LeaseBook:
    return desk.book()


def test_one_ask_answers_all_who_wait(desk: Desk, book: LeaseBook) -> None:
    callers = [wait(book) for _ in range(10)]
    assert len(desk.asks) == 1
    book.granted(desk.asks[0], TERMS)
    assert all(caller.lease is not None for caller in callers)
    assert len(desk.asks) == 1


def test_who_waits_gets_more_when_the_first_lease_is_too_small(desk: Desk, book: LeaseBook) -> None:
    callers = [wait(book) for _ in range(15)]
    book.granted(desk.asks[0], TERMS)
    assert sum(caller.lease is not None for caller in callers) == 10
    renewal = desk.asks[1]
    assert renewal.renewed is callers[0].lease
    book.granted(renewal, replace(TERMS, units=30))
    assert all(caller.lease is callers[0].lease for caller in callers)


def test_a_refused_renewal_is_followed_by_an_ask_for_another_right(desk: Desk, book: LeaseBook) -> None:
    callers = [wait(book) for _ in range(11)]
    book.granted(desk.asks[0], TERMS)
    book.denied(desk.asks[1], EXHAUSTED)
    assert desk.asks[2].renewed is None
    assert callers[10].refusal is None
    deposit = replace(TERMS, lease_id="b" * 32, grant_id="31337:0xescrow:9:0", units=8)
    book.granted(desk.asks[2], deposit)
    assert callers[10].lease is not None
    assert callers[10].lease.terms.grant_id == deposit.grant_id


def test_a_lease_takes_no_more_calls_than_it_was_lent(desk: Desk, book: LeaseBook) -> None:
    callers = [wait(book) for _ in range(3)]
    book.granted(desk.asks[0], replace(TERMS, limits=Limits(max_calls=2)))
    first = callers[0].lease
    assert first is not None
    assert [caller.lease is first for caller in callers] == [True, True, False]
    for caller in callers[:2]:
        finish(book, caller)
    # Its eight units that are left take no third call: another lease does.
    assert desk.asks[1].renewed is None
    book.granted(desk.asks[1], replace(TERMS, lease_id="b" * 32))
    assert callers[2].lease is not None
    assert callers[2].lease is not first
    assert first.calls == 2


def test_a_denial_reaches_everyone_and_is_remembered_for_a_moment(desk: Desk, book: LeaseBook) -> None:
    callers = [wait(book) for _ in range(3)]
    book.denied(desk.asks[0], MISSING)
    assert [caller.refusal for caller in callers] == [MISSING] * 3
    assert wait(book).refusal == MISSING
    assert len(desk.asks) == 1
    desk.now += SECOND
    assert wait(book).refusal is None
    assert len(desk.asks) == 2


def test_a_denial_for_want_of_units_does_not_speak_for_a_smaller_call(desk: Desk, book: LeaseBook) -> None:
    large = wait(book, units=50)
    book.denied(desk.asks[0], EXHAUSTED)
    assert large.refusal == EXHAUSTED
    assert wait(book, units=60).refusal == EXHAUSTED
    assert wait(book, units=5).refusal is None
    assert desk.asks[1].min_units == 5


def test_no_call_begins_on_a_lease_past_its_time(desk: Desk, book: LeaseBook) -> None:
    caller = wait(book)
    book.granted(desk.asks[0], TERMS)
    assert caller.lease is not None
    desk.now += 10 * SECOND
    assert book.begin(caller.lease, 1) is None
    book.release(caller.lease, 1)
    assert wait(book).lease is None


def test_the_time_limit_counts_from_before_the_asking(desk: Desk, book: LeaseBook) -> None:
    caller = wait(book)
    desk.now += 1500 * MS
    book.granted(desk.asks[0], replace(TERMS, ttl_ms=1000))
    assert caller.lease is None
    assert desk.returned == [(TERMS.lease_id, 0, 1)]


def test_a_late_reply_does_not_revive_a_revoked_right(desk: Desk, book: LeaseBook) -> None:
    caller = wait(book)
    book.revoke(TERMS.grant_id, 4, "license_transferred")
    book.granted(desk.asks[0], TERMS)
    assert caller.lease is None
    assert desk.returned == [(TERMS.lease_id, 0, 1)]
    assert desk.closed[0][1].last
    book.denied(desk.asks[1], MISSING)
    assert caller.refusal == MISSING


def test_a_late_renewal_does_not_revive_a_revoked_right(desk: Desk, book: LeaseBook) -> None:
    running = wait(book)
    book.granted(desk.asks[0], TERMS)
    waiting = [wait(book) for _ in range(10)][-1]
    assert desk.asks[1].renewed is running.lease
    book.revoke(TERMS.grant_id, 4, "license_revoked")
    book.granted(desk.asks[1], replace(TERMS, units=20))
    assert waiting.lease is None
    assert running.lease is not None
    assert book.begin(running.lease, 1) is None


def test_replies_that_stay_older_than_a_revocation_end_in_its_code(desk: Desk, book: LeaseBook) -> None:
    caller = wait(book)
    book.revoke(TERMS.grant_id, 4, "license_transferred")
    for number in range(3):
        book.granted(desk.asks[number], replace(TERMS, lease_id=f"{number:032x}"))
    assert caller.refusal is not None
    assert caller.refusal.code == "license_transferred"
    assert len(desk.asks) == 3


def test_a_newer_generation_outlives_an_older_revocation(desk: Desk, book: LeaseBook) -> None:
    caller = wait(book)
    book.granted(desk.asks[0], replace(TERMS, generation=4))
    assert book.revoke(TERMS.grant_id, 4, "license_revoked") == 0
    finish(book, caller)
    assert wait(book).lease is not None


def test_a_lease_dies_with_a_grant_that_it_requires(desk: Desk, book: LeaseBook) -> None:
    deposit = replace(TERMS, grant_id="31337:0xescrow:9:0", requires=((TERMS.grant_id, 3),))
    caller = wait(book)
    book.granted(desk.asks[0], deposit)
    assert book.revoke(TERMS.grant_id, 4, "license_transferred") == 1
    assert caller.lease is not None
    assert book.begin(caller.lease, 1) is None
    assert wait(book).lease is None


def test_a_revocation_is_remembered_for_two_time_limits(desk: Desk, book: LeaseBook) -> None:
    wait(book)
    book.revoke(TERMS.grant_id, 4, "license_revoked")
    desk.now += 59 * SECOND
    book.sweep()
    book.granted(desk.asks[0], replace(TERMS, ttl_ms=10**9))
    assert desk.returned == [(TERMS.lease_id, 0, 1)]


def test_the_last_call_of_a_dead_lease_is_its_last_record(desk: Desk, book: LeaseBook) -> None:
    caller = wait(book)
    book.granted(desk.asks[0], TERMS)
    assert caller.lease is not None
    sequence = book.begin(caller.lease, 1)
    assert sequence == 1
    book.revoke(TERMS.grant_id, 4, "license_revoked")
    end(book, caller, sequence)
    assert [(record.sequence, record.last, record.units) for _, record in desk.closed] == [(1, True, 1)]
    assert desk.returned == [(TERMS.lease_id, 1, 1)]


def test_calls_that_end_out_of_order_leave_the_last_record_at_the_highest_sequence(
    desk: Desk, book: LeaseBook
) -> None:
    first, second = wait(book), wait(book)
    book.granted(desk.asks[0], TERMS)
    assert first.lease is not None
    assert second.lease is not None
    one, two = book.begin(first.lease, 1), book.begin(second.lease, 1)
    assert one is not None
    assert two is not None
    book.revoke(TERMS.grant_id, 4, "license_revoked")
    end(book, second, two)
    end(book, first, one)
    records = [record for _, record in desk.closed]
    assert [(r.sequence, r.last, r.units) for r in records] == [(2, False, 1), (1, False, 1), (3, True, 0)]
    assert records[-1].outcome is Outcome.ABORTED


def test_an_idle_lease_goes_back_with_a_marker(desk: Desk, book: LeaseBook) -> None:
    caller = wait(book)
    book.granted(desk.asks[0], TERMS)
    finish(book, caller)
    desk.now += 2 * SECOND
    book.sweep()
    assert not desk.returned
    desk.now += 2 * SECOND
    book.sweep()
    assert desk.returned == [(TERMS.lease_id, 1, 2)]
    assert desk.closed[-1][1].last


def test_a_failed_call_gives_its_units_to_the_next(desk: Desk, book: LeaseBook) -> None:
    caller = wait(book, units=10)
    book.granted(desk.asks[0], TERMS)
    finish(book, caller, held=10, units=0)
    assert wait(book, units=10).lease is not None


def test_who_waits_too_long_is_told_that_licensing_is_away(desk: Desk, book: LeaseBook) -> None:
    caller = wait(book)
    desk.now += ASK_WAIT_NS
    book.sweep()
    assert caller.refusal == LICENSING_SILENT
    assert wait(book).refusal is None
    assert len(desk.asks) == 2


def test_a_reply_after_everyone_left_serves_the_next_call(desk: Desk, book: LeaseBook) -> None:
    caller = wait(book)
    book.stop_waiting(CALLER, SLUG, caller)
    book.granted(desk.asks[0], TERMS)
    assert caller.lease is None
    assert wait(book).lease is not None


def test_rate_and_concurrency_shares_are_kept(desk: Desk, book: LeaseBook) -> None:
    first = wait(book)
    book.granted(desk.asks[0], replace(TERMS, units=100, limits=Limits(requests_per_s=5, concurrency=3)))
    second, third = wait(book), wait(book)
    fourth = wait(book)
    assert fourth.refusal is not None
    assert fourth.refusal.code == "rate_limited"
    for caller in (first, second, third):
        finish(book, caller)
    assert [wait(book).refusal for _ in range(2)] == [None, None]


def test_all_keys_of_an_account_share_what_its_right_allows(desk: Desk, book: LeaseBook) -> None:
    limits = Limits(requests_per_s=5, concurrency=4)
    other = Credential(api_key_hash=b"\x01" * 32)
    running = [wait(book), wait(book, credential=other)]
    for number, ask in enumerate(list(desk.asks)):
        book.granted(ask, replace(TERMS, lease_id=f"{number:032x}", units=100, limits=limits))
    running += [wait(book), wait(book, credential=other)]
    assert all(caller.lease is not None for caller in running)
    for credential in (CALLER, other):
        refusal = wait(book, credential=credential).refusal
        assert refusal is not None
        assert "already running" in refusal.message
    for caller in running:
        finish(book, caller)
    assert wait(book, credential=other).lease is not None
    for credential in (CALLER, other):
        refusal = wait(book, credential=credential).refusal
        assert refusal is not None
        assert "requests a second" in refusal.message


def test_a_rate_share_refills_with_time(desk: Desk, book: LeaseBook) -> None:
    first = wait(book)
    book.granted(desk.asks[0], replace(TERMS, units=100, limits=Limits(requests_per_s=2)))
    finish(book, first)
    assert wait(book).lease is not None
    assert wait(book).refusal is not None
    desk.now += 500 * MS
    assert wait(book).lease is not None
    assert wait(book).refusal is not None


def test_a_share_of_units_is_kept_and_refills_with_time(desk: Desk, book: LeaseBook) -> None:
    first = wait(book, units=4)
    book.granted(desk.asks[0], replace(TERMS, units=100, limits=Limits(units_per_s=10)))
    finish(book, first, held=4, units=4)
    assert wait(book, units=6).lease is not None
    refusal = wait(book).refusal
    assert refusal is not None
    assert (refusal.code, "10 units a second" in refusal.message) == ("rate_limited", True)
    desk.now += 100 * MS
    assert wait(book).lease is not None
    assert wait(book).refusal is not None


def test_a_batch_above_a_second_of_units_is_served_and_paid_with_time(desk: Desk, book: LeaseBook) -> None:
    first = wait(book)
    book.granted(desk.asks[0], replace(TERMS, units=100, limits=Limits(units_per_s=10)))
    finish(book, first)
    assert wait(book, units=30).refusal is not None
    desk.now += SECOND
    batch = wait(book, units=30)
    assert batch.lease is not None
    finish(book, batch, held=30, units=30)
    # Two seconds' units are owed.
    desk.now += 2 * SECOND - MS
    assert wait(book).refusal is not None
    desk.now += 110 * MS
    assert wait(book).lease is not None


def test_units_that_are_owed_outlive_the_lease(desk: Desk, book: LeaseBook) -> None:
    terms = replace(TERMS, units=60, ttl_ms=1000, limits=Limits(units_per_s=10))
    first = wait(book, units=60)
    book.granted(desk.asks[0], terms)
    finish(book, first, held=60, units=60)
    desk.now += 3 * SECOND
    for _ in range(2):
        book.sweep()
    assert desk.returned
    second = wait(book)
    book.granted(desk.asks[-1], replace(terms, lease_id="b" * 32))
    assert second.refusal is not None


def test_what_is_refused_for_its_units_draws_no_request(desk: Desk, book: LeaseBook) -> None:
    first = wait(book, units=10)
    limits = Limits(requests_per_s=2, units_per_s=10)
    book.granted(desk.asks[0], replace(TERMS, units=100, limits=limits))
    assert first.lease is not None
    assert wait(book, units=10).refusal is not None
    desk.now += SECOND // 2
    assert wait(book, units=5).lease is not None
    assert wait(book, units=0).lease is not None


def test_a_busy_lease_is_renewed_before_its_time_limit(desk: Desk, book: LeaseBook) -> None:
    caller = wait(book)
    book.granted(desk.asks[0], TERMS)
    finish(book, caller)
    desk.now += 8 * SECOND
    finish(book, wait(book))
    assert desk.asks[1].renewed is caller.lease
    book.granted(desk.asks[1], replace(TERMS, units=12))
    desk.now += 5 * SECOND
    assert wait(book).lease is caller.lease
    assert caller.lease is not None
    assert caller.lease.lent == 12


def test_an_old_lease_is_replaced_rather_than_renewed(desk: Desk, book: LeaseBook) -> None:
    caller = wait(book)
    book.granted(desk.asks[0], replace(TERMS, units=1000))
    for number in range(1, 8):
        desk.now += 8 * SECOND
        wait(book)
        assert (desk.asks[number].renewed is caller.lease) is (number < 8)
        book.granted(desk.asks[number], replace(TERMS, units=1000))
    desk.now += 8 * SECOND
    wait(book)
    assert desk.asks[8].renewed is None


def test_a_grant_near_its_end_is_not_asked_for_more_by_every_call(desk: Desk, book: LeaseBook) -> None:
    first = wait(book)
    book.granted(desk.asks[0], replace(TERMS, units=100))
    finish(book, first)
    for _ in range(60):
        finish(book, wait(book))
    desk.now += 60 * MS
    book.sweep()
    finish(book, wait(book))
    assert len(desk.asks) == 2
    book.granted(desk.asks[1], replace(TERMS, units=100))
    for _ in range(10):
        finish(book, wait(book))
    assert len(desk.asks) == 2
    desk.now += SECOND
    finish(book, wait(book))
    assert len(desk.asks) == 3


def test_a_lease_of_a_chain_without_a_certificate_serves_no_call(desk: Desk, book: LeaseBook) -> None:
    callers = [wait(book) for _ in range(2)]
    book.granted(desk.asks[0], replace(TERMS, grant_id="8453:0xlicense:1:0"))
    callers.append(wait(book))
    assert [(c.lease, c.refusal and c.refusal.code) for c in callers] == [(None, "model_not_ready")] * 3
    assert (desk.opened, desk.closed, desk.returned) == ([], [], [(TERMS.lease_id, 0, 0)])
    desk.now += SECOND
    again = wait(book)
    book.granted(desk.asks[1], replace(TERMS, lease_id="b" * 32))
    assert again.lease is not None
