"""Protobuf to domain and back, and the outbox rows of billing's own events."""

from __future__ import annotations

from dataclasses import replace

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from licet_kit.outbox import Outgoing
from licet_kit.units import parse_amount
from licet_schemas.eip712 import Receipt
from licet_schemas.licet.billing.v1.billing_pb2 import SettlementChanged
from licet_schemas.licet.chain.v1 import chain_pb2
from licet_schemas.licet.licensing.v1 import licensing_pb2
from licet_schemas.licet.usage.v1 import usage_pb2

from licet_billing.domain import money
from licet_billing.domain.challenges import Challenge
from licet_billing.domain.errors import RecordInconsistent
from licet_billing.domain.receipts import OperatorKey, SignedSegment
from licet_billing.domain.settlement import BatchKey, BatchStatus
from licet_billing.domain.usage import Grant, Outcome, Plan, PlanKey, Source, UsageRecord

_OUTCOMES = frozenset(int(outcome) for outcome in Outcome)
_SOURCES = {
    licensing_pb2.GRANT_SOURCE_LICENSE: Source.LICENSE,
    licensing_pb2.GRANT_SOURCE_CREDITS: Source.CREDITS,
    licensing_pb2.GRANT_SOURCE_DEPOSIT: Source.DEPOSIT,
    licensing_pb2.GRANT_SOURCE_MANDATE: Source.MANDATE,
}


def _milliseconds(time: Timestamp) -> int:
    return time.seconds * 1000 + time.nanos // 1_000_000


def usage_record(message: usage_pb2.UsageRecorded) -> UsageRecord:
    """Reads a usage record. Raises RecordInconsistent for an outcome that does not exist."""
    if message.outcome not in _OUTCOMES:
        raise RecordInconsistent("outcome", str(message.outcome), "one of the five")
    return UsageRecord(
        request_id=message.request_id,
        lease_id=message.lease_id,
        sequence=message.sequence,
        last=message.last,
        account_id=message.account_id,
        account_lease=message.account_lease,
        grant_id=message.grant_id,
        asset_id=message.asset_id,
        version_digest=message.version_digest,
        plan_id=message.plan_id,
        metering_rule=message.metering_rule,
        units=message.units,
        price_book_version=message.price_book_version,
        outcome=Outcome(message.outcome),
        started_at_ms=_milliseconds(message.started_at),
        ended_at_ms=_milliseconds(message.ended_at),
        request_commitment=message.request_commitment,
        response_commitment=message.response_commitment,
    )


def signed_segment(message: usage_pb2.UsageRecorded) -> SignedSegment:
    """Reads what signs a record's receipt. Raises RecordInconsistent where it is missing."""
    if not message.HasField("segment") or not message.segment.HasField("certificate"):
        raise RecordInconsistent("segment", "", "root, path, signature and certificate")
    segment, certificate = message.segment, message.segment.certificate
    return SignedSegment(
        root=segment.root,
        receipts=segment.receipts,
        path=tuple(segment.path),
        signature=segment.signature,
        operator=certificate.operator,
        replica=certificate.replica,
        valid_from=certificate.valid_from,
        valid_until=certificate.valid_until,
        certificate_signature=certificate.signature,
    )


def stored_usage(message: bytes) -> tuple[UsageRecord, SignedSegment]:
    """Reads a record as a charge keeps it. Raises RecordInconsistent for bytes that are none."""
    try:
        recorded = usage_pb2.UsageRecorded.FromString(message)
    except DecodeError as error:
        raise RecordInconsistent("record", str(error), "a usage record") from None
    return usage_record(recorded), signed_segment(recorded)


def hash_bytes(text: str) -> bytes:
    """The bytes of a `0x` hash. Raises RecordInconsistent for anything else."""
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise RecordInconsistent("hash", text, "0x and hex digits") from None


def receipt(record: UsageRecord) -> Receipt:
    """The receipt of a call, as the gateway hashed it. Raises RecordInconsistent for ids that have no hash form."""
    if not record.plan_id.isdigit():
        raise RecordInconsistent("plan_id", record.plan_id, "a number")
    return Receipt(
        request_id=record.request_id,
        account_id=record.account_id,
        account_lease=record.account_lease,
        sequence=record.sequence,
        last=record.last,
        grant_id=record.grant_id,
        asset_id=hash_bytes(record.asset_id),
        version_digest=hash_bytes(record.version_digest),
        plan_id=int(record.plan_id),
        metering_rule=record.metering_rule,
        units=record.units,
        price_book_version=record.price_book_version,
        outcome=int(record.outcome),
        started_at_ms=record.started_at_ms,
        ended_at_ms=record.ended_at_ms,
        request_commitment=record.request_commitment,
        response_commitment=record.response_commitment,
    )


def grant(message: licensing_pb2.GrantChanged) -> Grant:
    """Reads a grant's state. Raises RecordInconsistent for a source that billing does not know."""
    source = _SOURCES.get(message.source)
    if source is None:
        raise RecordInconsistent("grant source", str(message.source), "license, deposit or mandate")
    return Grant(
        grant_id=message.grant_id,
        version=message.version,
        source=source,
        state=message.state,
        account_id=message.account_id,
        wallet=message.wallet,
        chain_id=message.chain_id,
        contract=message.contract,
        token_id=message.token_id,
        plan_id=message.plan_id,
        asset_id=message.asset_id,
        currency=message.currency,
        operator=message.operator,
        granted=parse_amount(message.granted),
        window=message.window if source is Source.MANDATE else 0,
    )


def position(event: chain_pb2.ChainEvent) -> money.ChainPosition:
    """Where the event's log stands, in which truth."""
    return money.ChainPosition(
        chain_id=event.chain_id,
        block_number=event.block_number,
        block_hash=event.block_hash,
        log_index=event.log_index,
        incarnation=event.incarnation,
        tx_hash=event.tx_hash,
        contract=event.contract,
    )


def money_events(event: chain_pb2.ChainEvent) -> list[tuple[money.ChainPosition, money.MoneyEvent]]:
    """The money events that this is: one for each line of a group, else one or none."""
    place = position(event)
    if event.WhichOneof("payload") == "group_settled":
        return [(replace(place, line=line.index), line) for line in _lines_settled(event.group_settled)]
    found = _escrow_event(event) or _router_event(event)
    return [] if found is None else [(place, found)]


def challenge(event: chain_pb2.ChainEvent) -> Challenge:
    """The challenge of a ChargeChallenged event."""
    said = event.charge_challenged
    key = BatchKey(event.chain_id, said.operator, said.batch)
    return Challenge(said.line_id, key, said.index, said.position, said.deadline)


def _escrow_event(event: chain_pb2.ChainEvent) -> money.EscrowEvent | None:
    match event.WhichOneof("payload"):
        case "deposited":
            d = event.deposited
            return money.Deposited(d.deposit_id, d.operator, d.token, parse_amount(d.amount))
        case "exit_requested":
            r = event.exit_requested
            return money.ExitRequested(r.deposit_id, r.operator, r.token, parse_amount(r.amount))
        case "exit_drawn":
            x = event.exit_drawn
            return money.ExitDrawn(x.deposit_id, x.operator, x.token, parse_amount(x.amount))
        case "withdrawn":
            w = event.withdrawn
            return money.Withdrawn(w.deposit_id, w.operator, w.token, parse_amount(w.amount))
        case "hold_released":
            h = event.hold_released
            return money.HoldReleased(h.operator, h.token, h.batch, h.asset_id, parse_amount(h.amount))
        case "draw_refunded":
            f = event.draw_refunded
            amount = parse_amount(f.amount)
            return money.DrawRefunded(f.operator, f.token, f.batch, f.asset_id, f.index, amount)
        case _:
            return None


def _lines_settled(group: chain_pb2.GroupSettled) -> list[money.LineSettled]:
    return [
        money.LineSettled(
            deposit_id=line.deposit_id,
            operator=group.operator,
            token=group.token,
            batch=group.batch,
            index=index,
            asset_id=group.asset_id,
            authority=line.authority,
            window=line.window,
            due=parse_amount(line.due),
            paid=parse_amount(line.paid),
            records=line.records,
        )
        for index, line in enumerate(group.lines, group.first)
    ]


def _router_event(event: chain_pb2.ChainEvent) -> money.RouterEvent | None:
    match event.WhichOneof("payload"):
        case "revenue_received":
            r = event.revenue_received
            child = r.reference if r.source == "royalty" else ""
            return money.RevenueReceived(r.asset_id, r.token, parse_amount(r.amount), child)
        case "distributed":
            d = event.distributed
            amounts = (parse_amount(d.amount), parse_amount(d.fee))
            return money.Distributed(d.asset_id, d.token, *amounts, d.payee, parse_amount(d.payee_amount))
        case "claimed":
            c = event.claimed
            return money.Claimed(c.account, c.token, parse_amount(c.amount))
        case _:
            return None


def plan(event: chain_pb2.ChainEvent) -> Plan:
    """The plan of a PlanCreated event."""
    created, terms = event.plan_created, event.plan_created.terms
    return Plan(
        key=PlanKey(event.chain_id, event.contract, created.plan_id),
        asset_id=terms.asset_id,
        currency=terms.currency,
        unit_price=parse_amount(terms.unit_price),
        metering_rule=terms.metering_rule,
        server=terms.server,
    )


def operator_key(event: chain_pb2.ChainEvent) -> OperatorKey:
    """The statement of an OperatorKeySet event."""
    key = event.operator_key_set
    return OperatorKey(
        position_id=position(event).id,
        chain_id=event.chain_id,
        operator=key.operator,
        receipt_key=key.receipt_key,
        valid_from=key.valid_from,
        valid_until=key.valid_until,
        block_number=event.block_number,
        log_index=event.log_index,
    )


def settlement_changed(batch: BatchStatus) -> Outgoing:
    """Tells that a batch reached a state; `paid` is empty until its lines are posted."""
    key = batch.key
    message = SettlementChanged(
        event_id=f"{key.chain_id}:{key.operator}:{key.number}:{batch.version}",
        chain_id=key.chain_id,
        batch=key.number,
        operator=key.operator,
        state=batch.state,
        tx_hash=batch.tx_hash,
        root=batch.root,
        due=str(batch.due),
        paid="" if batch.paid is None else str(batch.paid),
        items=batch.items,
        charges=batch.charges,
    )
    return Outgoing(message=message, key=f"{key.chain_id}:{key.number}", event_id=message.event_id)
