"""What becomes of usage records, message by message, on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from google.protobuf.message import Message as ProtobufMessage
from licet_billing.domain.ledger import Account, AccountKind, Currency
from licet_billing.testing.builders import (
    CHAIN,
    DEPOSIT,
    ESCROW,
    OPERATOR,
    TOKEN,
    ChainLog,
    Gateway,
    fence,
    retracted,
)
from licet_billing.testing.inbox import Inbox, make_inbox, raw
from licet_billing.usecases import intake
from licet_kit.db import transaction
from licet_kit.kafka import Raw, inspect_subscribers, replay
from licet_schemas.licet.chain.v1 import chain_pb2
from licet_schemas.licet.usage.v1 import usage_pb2
from sqlalchemy.ext.asyncio import AsyncEngine

USD = Currency(CHAIN, TOKEN)
CUSTOMER, ACCRUED, RECEIVABLE = (
    Account(kind, USD, DEPOSIT)
    for kind in (AccountKind.CUSTOMER, AccountKind.ACCRUED, AccountKind.RECEIVABLE)
)


@pytest.fixture
def inbox(engine: AsyncEngine) -> Inbox:
    return make_inbox(engine, CHAIN, ESCROW, OPERATOR)


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def log() -> ChainLog:
    return ChainLog()


@pytest.fixture
async def ready(inbox: Inbox, gateway: Gateway, log: ChainLog) -> Inbox:
    """Plan at 7 a unit, receipt key, a deposit grant of 100 and a license grant of 10 units."""
    await inbox.send(log.plan(7), log.key())
    await inbox.send(gateway.deposit_changed(100), gateway.license_changed(10))
    return inbox


def test_every_subscriber_acknowledges_by_hand(inbox: Inbox) -> None:
    assert inspect_subscribers(inbox.broker) == 4


async def test_deposit_calls_are_charged_and_accrued(ready: Inbox, gateway: Gateway) -> None:
    await ready.send(*gateway.calls(1, 2, 0))
    charges = await ready.rows("SELECT amount, payer, deposit_id, disposition FROM charges ORDER BY sequence")
    assert [int(row.amount) for row in charges] == [7, 14, 0]
    assert {row.deposit_id for row in charges} == {DEPOSIT}
    assert await ready.balances(CUSTOMER, RECEIVABLE, ACCRUED) == (0, 21, 21)


async def test_license_calls_are_charged_zero_and_move_no_money(ready: Inbox, gateway: Gateway) -> None:
    await ready.send(*gateway.calls(4, 6, grant_id=gateway.license_grant))
    charges = await ready.rows("SELECT amount, value, disposition FROM charges ORDER BY sequence")
    assert [(int(row.amount), int(row.value), row.disposition) for row in charges] == [
        (0, 28, "billed"),
        (0, 42, "billed"),
    ]
    assert await ready.rows("SELECT 1 FROM ledger_transactions") == []


async def test_duplicate_usage_record_is_charged_once(ready: Inbox, gateway: Gateway) -> None:
    calls = gateway.calls(1, 1)
    await ready.send(*calls)
    await ready.send(*calls)
    await ready.send(calls[1], calls[1])
    assert len(await ready.rows("SELECT 1 FROM charges")) == 2
    assert await ready.balances(ACCRUED) == (14,)


async def test_record_under_another_event_id_is_charged_once_too(ready: Inbox, gateway: Gateway) -> None:
    (call,) = gateway.calls(1)
    await ready.send(call)
    copy = raw(call)
    disguised = Raw(copy.topic, copy.key, "another-id", copy.payload, copy.headers, copy.timestamp)
    await ready.subscription("usage.recorded").delivery.deliver([disguised])
    assert len(await ready.rows("SELECT 1 FROM charges")) == 1
    assert await ready.rows("SELECT key FROM quarantine") == []


async def test_two_contents_under_one_request_id_quarantine_the_lease(ready: Inbox, gateway: Gateway) -> None:
    lease = gateway.lease()
    await ready.send(*gateway.calls(1, lease=lease))
    (other,) = gateway.calls(3, lease=lease)
    changed = raw(other)
    await ready.subscription("usage.recorded").delivery.deliver(
        [Raw(changed.topic, changed.key, "another-id", changed.payload, changed.headers, changed.timestamp)]
    )
    assert [(row.key, row.reason) for row in await ready.rows("SELECT key, reason FROM quarantine")] == [
        (lease, "record_conflict")
    ]
    assert await ready.balances(ACCRUED) == (7,)


async def test_lease_that_ends_with_an_aborted_call_has_its_receipt(ready: Inbox, gateway: Gateway) -> None:
    lease = gateway.lease()
    call = gateway.record(lease, 1, 0, outcome=usage_pb2.OUTCOME_ABORTED, last=True)
    await ready.send(*gateway.sign([call]))
    (charge,) = await ready.rows("SELECT request_id, amount FROM charges")
    assert (charge.request_id, int(charge.amount)) == (call.request_id, 0)


async def test_units_of_a_call_that_failed_upstream_are_not_charged(ready: Inbox, gateway: Gateway) -> None:
    failed = gateway.record(gateway.lease(), 1, 5, outcome=usage_pb2.OUTCOME_UPSTREAM_ERROR)
    await ready.send(*gateway.sign([failed]))
    assert await ready.rows("SELECT 1 FROM charges") == []
    assert [row.reason for row in await ready.rows("SELECT reason FROM quarantine")] == [
        "record_inconsistent"
    ]


async def test_closing_marker_is_no_charge(ready: Inbox, gateway: Gateway) -> None:
    lease = gateway.lease()
    await ready.send(*gateway.calls(1, lease=lease), gateway.marker(lease, 2))
    assert [row.request_id for row in await ready.rows("SELECT request_id FROM charges")] == [f"{lease}-1"]


async def test_records_behind_a_fence_are_operator_loss_for_good(ready: Inbox, gateway: Gateway) -> None:
    lease = gateway.lease()
    before, behind = gateway.calls(2, 3, lease=lease)
    await ready.send(before, fence(lease, gateway.deposit_grant), behind)
    await ready.send(gateway.deposit_changed(10_000, version=2))
    async with transaction(ready.engine) as session:
        assert await intake.grants_to_cover(session, 10) == []
    charges = await ready.rows("SELECT amount, disposition FROM charges ORDER BY sequence")
    assert [(int(row.amount), row.disposition) for row in charges] == [(14, "billed"), (0, "fenced")]
    losses = await ready.rows("SELECT amount FROM ledger_entries WHERE account_id LIKE 'operator_loss:%'")
    assert [int(row.amount) for row in losses] == [21]


@pytest.mark.parametrize("at_once", [True, False])
async def test_records_beyond_their_leases_last_one_are_operator_loss_for_good(
    ready: Inbox, gateway: Gateway, at_once: bool
) -> None:
    lease = gateway.lease()
    calls = gateway.calls(1, 1, 1, lease=lease)
    log = [calls[0], gateway.marker(lease, 2), calls[2]]
    for messages in [log] if at_once else [[each] for each in log]:
        await ready.send(*messages)
    await cover(ready)
    charges = await ready.rows("SELECT amount, disposition FROM charges ORDER BY sequence")
    assert [(int(row.amount), row.disposition) for row in charges] == [(7, "billed"), (0, "fenced")]


async def test_records_beyond_the_grant_are_loss_until_it_covers_them(ready: Inbox, gateway: Gateway) -> None:
    await ready.send(*gateway.calls(14, 1))  # 98 of 100, then 7 more
    assert await ready.balances(ACCRUED) == (98,)
    async with transaction(ready.engine) as session:
        assert await intake.grants_to_cover(session, 10) == []
    await ready.send(gateway.deposit_changed(105, version=2))
    await cover(ready)
    assert await ready.balances(ACCRUED) == (105,)
    loss = await ready.rows(
        "SELECT sum(amount) AS total FROM ledger_entries WHERE account_id LIKE 'operator_loss:%'"
    )
    assert int(loss[0].total) == 0
    assert [
        int(row.charged) for row in await ready.rows("SELECT charged FROM grants WHERE source = 'deposit'")
    ] == [105]


async def cover(inbox: Inbox) -> None:
    async with transaction(inbox.engine) as session:
        for grant_id in await intake.grants_to_cover(session, 10):
            await intake.cover_late(session, grant_id)


async def test_billed_never_exceeds_granted_under_concurrent_leases(ready: Inbox, gateway: Gateway) -> None:
    batches = [gateway.calls(1, 1, 1) for _ in range(12)]
    await asyncio.gather(*(ready.send(*batch) for batch in batches))
    grant = (await ready.rows("SELECT granted, charged FROM grants WHERE source = 'deposit'"))[0]
    billed = (await ready.rows("SELECT sum(amount) AS total FROM charges"))[0]
    assert int(grant.charged) == int(billed.total) == 98
    served = (await ready.rows("SELECT sum(value) AS total FROM charges"))[0]
    assert int(served.total) == 36 * 7


async def test_record_before_its_grant_waits_and_is_charged_when_it_arrives(
    inbox: Inbox, gateway: Gateway, log: ChainLog
) -> None:
    lease = gateway.lease()
    calls = gateway.calls(1, 2, lease=lease)
    await inbox.send(*calls)
    await inbox.send(log.plan(7))
    await inbox.send(gateway.deposit_changed(100))
    held = await inbox.rows("SELECT key, detail FROM quarantine")
    assert [row.key for row in held] == [lease]
    assert held[0].detail.startswith("plan:")
    await drain(inbox, lease)
    assert (await inbox.rows("SELECT detail FROM quarantine"))[0].detail.startswith("receipt_key:")
    await inbox.send(log.key())
    released = await inbox.rows("SELECT retry_at <= now() AS due FROM quarantine")
    assert [row.due for row in released] == [True]
    await drain(inbox, lease)
    assert await inbox.rows("SELECT key FROM quarantine") == []
    assert await inbox.balances(ACCRUED) == (21,)


async def drain(inbox: Inbox, key: str) -> None:
    await replay(inbox.subscription("usage.recorded"), key)


async def test_arrival_of_the_grant_releases_only_what_waits_for_it(
    inbox: Inbox, gateway: Gateway, log: ChainLog
) -> None:
    await inbox.send(log.plan(7), log.key())
    lease, other = gateway.lease(), gateway.lease()
    await inbox.send(*gateway.calls(1, lease=lease))
    await inbox.send(*gateway.calls(1, lease=other, grant_id=gateway.license_grant))
    await inbox.rows("UPDATE quarantine SET retry_at = now() + interval '1 hour' RETURNING key")
    await inbox.send(gateway.deposit_changed(100))
    due = await inbox.rows("SELECT key FROM quarantine WHERE retry_at <= now()")
    assert [row.key for row in due] == [lease]


async def test_fence_parked_behind_its_lease_keeps_its_place(
    inbox: Inbox, gateway: Gateway, log: ChainLog
) -> None:
    lease = gateway.lease()
    before, behind = gateway.calls(2, 3, lease=lease)
    await inbox.send(before, fence(lease, gateway.deposit_grant), behind)
    await inbox.send(log.plan(7), log.key())
    await inbox.send(gateway.deposit_changed(100))
    await drain(inbox, lease)
    charges = await inbox.rows("SELECT amount, disposition FROM charges ORDER BY sequence")
    assert [(int(row.amount), row.disposition) for row in charges] == [(14, "billed"), (0, "fenced")]


Spoil = Callable[[usage_pb2.UsageRecorded], object]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: setattr(r, "units", r.units + 1),
        lambda r: r.segment.ClearField("certificate"),
        lambda r: setattr(r.segment, "signature", b"\x01" * 65),
        lambda r: setattr(r.segment, "receipts", 9),
        lambda r: setattr(r.segment, "root", bytes(32)),
        lambda r: r.segment.path.append(bytes(32)),
        lambda r: setattr(r.segment.certificate, "valid_until", 5),
        lambda r: setattr(r, "outcome", 99),
        lambda r: setattr(r, "metering_rule", "rows:INPUT"),
        lambda r: setattr(r, "price_book_version", "nonsense"),
        lambda r: setattr(r, "version_digest", "0xzz"),
    ],
)
async def test_forged_or_malformed_record_quarantines_its_lease_and_is_not_charged(
    ready: Inbox, gateway: Gateway, spoil: Spoil
) -> None:
    lease = gateway.lease()
    forged, next_ = gateway.calls(1, 1, lease=lease)
    spoil(forged)
    await ready.send(forged, next_)
    await ready.send(*gateway.calls(1))
    held = await ready.rows("SELECT key, retry_at FROM quarantine")
    assert [(row.key, row.retry_at) for row in held] == [(lease, None)]
    assert len(await ready.rows("SELECT 1 FROM parked")) == 2
    assert await ready.balances(ACCRUED) == (7,)


async def test_lease_held_back_in_its_middle_is_billed_up_to_there_and_no_further(
    ready: Inbox, gateway: Gateway
) -> None:
    before, forged, behind = gateway.calls(1, 2, 3)
    forged.units = 9
    await ready.send(before, forged, behind)
    charges = await ready.rows("SELECT request_id, amount FROM charges")
    assert [(row.request_id, int(row.amount)) for row in charges] == [(before.request_id, 7)]
    assert await ready.balances(CUSTOMER, RECEIVABLE, ACCRUED) == (0, 7, 7)
    grants = await ready.rows("SELECT charged FROM grants WHERE source = 'deposit'")
    assert [int(row.charged) for row in grants] == [7]
    assert len(await ready.rows("SELECT 1 FROM parked")) == 2


@pytest.mark.parametrize(
    ("signer", "valid"),
    [(Gateway(operator="0x" + "99" * 20), (0, 2**40)), (Gateway(), (0, 5))],
    ids=["other operator", "expired key"],
)
async def test_certificate_that_the_chain_does_not_back_quarantines_the_lease(
    inbox: Inbox, log: ChainLog, gateway: Gateway, signer: Gateway, valid: tuple[int, int]
) -> None:
    await inbox.send(log.plan(7), log.key(valid=valid))
    await inbox.send(gateway.deposit_changed(100))
    await inbox.send(*signer.calls(1, grant_id=gateway.deposit_grant))
    assert [row.reason for row in await inbox.rows("SELECT reason FROM quarantine")] == ["receipt_invalid"]
    assert await inbox.rows("SELECT 1 FROM charges") == []


async def test_usage_of_another_operators_plan_is_not_charged_here(
    ready: Inbox, gateway: Gateway, log: ChainLog
) -> None:
    await ready.send(log.plan(7, plan_id="9", operator="0x" + "99" * 20))
    gateway.plan_id = "9"
    await ready.send(*gateway.calls(1, grant_id=gateway.license_grant))
    assert [row.reason for row in await ready.rows("SELECT reason FROM quarantine")] == [
        "record_inconsistent"
    ]
    assert await ready.rows("SELECT 1 FROM charges") == []


async def test_older_state_of_a_grant_is_ignored(ready: Inbox, gateway: Gateway) -> None:
    await ready.send(gateway.deposit_changed(500, version=5))
    await ready.send(gateway.deposit_changed(1, version=4))
    grants = await ready.rows("SELECT granted FROM grants WHERE source = 'deposit'")
    assert [int(row.granted) for row in grants] == [500]


async def test_retracted_key_verifies_nothing_any_more(inbox: Inbox, gateway: Gateway, log: ChainLog) -> None:
    key = log.key()
    await inbox.send(log.plan(7), key)
    await inbox.send(retracted(key))
    await inbox.send(gateway.deposit_changed(100))
    await inbox.send(*gateway.calls(1))
    held = await inbox.rows("SELECT detail FROM quarantine")
    assert [row.detail.split(":")[0] for row in held] == ["receipt_key"]


Step = Callable[[Inbox], Awaitable[None]]


async def test_crash_between_effect_and_acknowledgement_repeats_nothing(
    ready: Inbox, gateway: Gateway, log: ChainLog
) -> None:
    """The transaction is committed and the offset is not: the broker delivers the same messages again."""
    deliveries: list[list[ProtobufMessage]] = [
        [*gateway.calls(1, 2), fence("f" * 32, gateway.deposit_grant)],
        [gateway.deposit_changed(200, version=2)],
        [log.deposited(50), log.plan(3, plan_id="3")],
        [
            chain_pb2.BlockFinality(
                event_id="f", chain_id=CHAIN, block_number=9, block_hash="0x9", block_time=1
            )
        ],
    ]
    for messages in deliveries:
        await ready.send(*messages)
    before = await state(ready)
    for messages in deliveries:
        await ready.send(*messages)
        for message in messages:
            await ready.send(message)
    assert await state(ready) == before


async def state(inbox: Inbox) -> dict[str, list[Any]]:
    tables = (
        "charges",
        "grants",
        "plans",
        "fences",
        "finality",
        "ledger_transactions",
        "ledger_entries",
        "quarantine",
    )
    return {table: await inbox.rows(f"SELECT * FROM {table} ORDER BY 1") for table in tables}
