"""Protobuf in and out: chain events become facts, usage records become records, changes become outbox messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from licet_kit.outbox import Outgoing
from licet_kit.units import parse_amount
from licet_schemas.licet.chain.v1 import chain_pb2 as chain
from licet_schemas.licet.licensing.v1 import licensing_pb2 as licensing
from licet_schemas.licet.usage.v1 import usage_pb2 as usage

from licet_licensing.db.accounts import LoggedDecision
from licet_licensing.domain.facts import Fact, FactKind, Place, series_subject
from licet_licensing.domain.grants import Grant, GrantChange, Source
from licet_licensing.domain.leases import Lease, Record

Body = Mapping[str, str | int | bool]
Said = tuple[str, FactKind, Body]


@dataclass(frozen=True, slots=True)
class Contracts:
    """Addresses by which rights are named, of each chain: {chain id: (License, PlanBook, UsageEscrow)}.

    `former_licenses` are earlier generations of License, oldest first.
    """

    by_chain: Mapping[int, tuple[str, str, str]] = field(default_factory=dict)
    former_licenses: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    def knows(self, chain_id: int) -> bool:
        return chain_id in self.by_chain

    def license(self, chain_id: int, token_id: str) -> str:
        """The contract that issued a license, wherever it is now: each generation has 2^64 ids of its own."""
        generations = (*self.former_licenses.get(chain_id, ()), self.by_chain[chain_id][0])
        return generations[min(int(token_id) >> 64, len(generations) - 1)]

    def plan_key(self, chain_id: int, plan_id: str) -> str:
        return f"{chain_id}:{self.by_chain[chain_id][1]}:{plan_id}"

    def escrow(self, chain_id: int) -> str:
        return self.by_chain[chain_id][2]


def facts_of(event: chain.ChainEvent, contracts: Contracts) -> tuple[Fact, ...]:
    """What the event says of rights, each one once; nothing for events that no right depends on."""
    payload = event.WhichOneof("payload") or ""
    if payload == "group_settled":
        said = _shortfalls(event, contracts)
    else:
        read = _READERS.get(payload)
        found = read(event, contracts) if read else None
        said = [] if found is None else [found]
    return tuple(
        Fact(
            chain_id=event.chain_id,
            block_hash=event.block_hash,
            place=Place(event.block_number, event.log_index),
            subject=subject,
            kind=kind,
            body=body,
            incarnation=event.incarnation,
            standing=event.kind == chain.EVENT_KIND_OBSERVED,
        )
        for subject, kind, body in said
    )


def asset_of(event: chain.ChainEvent) -> str | None:
    """The asset that an event speaks of, when it names one."""
    payload = event.WhichOneof("payload")
    if payload == "plan_created":
        return event.plan_created.terms.asset_id
    said: Any = getattr(event, payload) if payload else None
    return getattr(said, "asset_id", None) or None


def _registered(event: chain.ChainEvent, _: Contracts) -> Said:
    said = event.asset_registered
    return f"asset:{said.asset_id}", FactKind.ASSET_REGISTERED, {"asset_id": said.asset_id, "slug": said.slug}


def _activated(event: chain.ChainEvent, _: Contracts) -> Said:
    said = event.version_activated
    body = {"asset_id": said.asset_id, "version_digest": said.version_digest}
    return f"asset:{said.asset_id}", FactKind.VERSION_ACTIVATED, body


def _planned(event: chain.ChainEvent, contracts: Contracts) -> Said:
    said, terms = event.plan_created, event.plan_created.terms
    key = contracts.plan_key(event.chain_id, said.plan_id)
    body: Body = {
        "plan_key": key,
        "plan_id": said.plan_id,
        "asset_id": terms.asset_id,
        "currency": terms.currency,
        "period_s": terms.period_s,
        "included_units": str(terms.included_units),
        "unit_price": str(parse_amount(terms.unit_price)),
        "metering_rule": terms.metering_rule,
        "requests_per_s": terms.requests_per_s,
        "transferable": terms.transferable,
        "optimistic_units": str(terms.optimistic_units),
        "optimistic_amount": str(parse_amount(terms.optimistic_amount)),
        "server": terms.server,
        "trial_units": str(terms.trial_units),
        "seats": terms.seats,
    }
    return f"plan:{key}", FactKind.PLAN_CREATED, body


def _series(event: chain.ChainEvent, contracts: Contracts) -> Said:
    said = event.series_opened
    body: Body = {
        "plan_key": contracts.plan_key(event.chain_id, said.plan_id),
        "asset_id": said.asset_id,
        "expires_at": said.expires_at,
    }
    return series_subject(event.chain_id, said.token), FactKind.SERIES_OPENED, body


def _license(event: chain.ChainEvent, contracts: Contracts, token_id: str) -> str:
    return f"license:{event.chain_id}:{contracts.license(event.chain_id, token_id)}:{token_id}"


def _purchased(event: chain.ChainEvent, contracts: Contracts) -> Said:
    said = event.license_purchased
    body: Body = {
        "plan_key": contracts.plan_key(event.chain_id, said.plan_id),
        "asset_id": said.asset_id,
        "payer": said.payer,
        "recipient": said.recipient,
        "end_time": said.end_time,
        "trial": said.trial,
    }
    return _license(event, contracts, said.token_id), FactKind.LICENSE_PURCHASED, body


def _renewed(event: chain.ChainEvent, contracts: Contracts) -> Said:
    said = event.license_renewed
    body: Body = {"payer": said.payer, "end_time": said.end_time, "ordinal": said.ordinal}
    return _license(event, contracts, said.token_id), FactKind.LICENSE_RENEWED, body


_NOBODY = "0x" + "00" * 20


def _transferred(event: chain.ChainEvent, contracts: Contracts) -> Said | None:
    said = event.license_transferred
    if getattr(said, "from") == _NOBODY:  # a mint: the purchase says it
        return None
    body = {"from": getattr(said, "from"), "to": said.to}
    return _license(event, contracts, said.token_id), FactKind.LICENSE_TRANSFERRED, body


def _delegated(event: chain.ChainEvent, contracts: Contracts) -> Said:
    said = event.update_user
    user = "" if said.user == _NOBODY else said.user
    return (
        _license(event, contracts, said.token_id),
        FactKind.LICENSE_DELEGATED,
        {"user": user, "until": said.expires},
    )


def _revoked(event: chain.ChainEvent, contracts: Contracts) -> Said:
    return _license(event, contracts, event.license_revoked.token_id), FactKind.LICENSE_REVOKED, {}


def _migrated(event: chain.ChainEvent, contracts: Contracts) -> Said:
    said = event.license_migrated
    return _license(event, contracts, said.token_id), FactKind.LICENSE_MIGRATED, {"holder": said.holder}


def _deposit(name: str) -> Callable[[chain.ChainEvent, Contracts], Said]:
    def read(event: chain.ChainEvent, contracts: Contracts) -> Said:
        said: Any = getattr(event, name)
        body = {
            "payer": said.payer,
            "operator": said.operator,
            "token": said.token,
            "total": str(parse_amount(said.total)),
        }
        subject = f"deposit:{event.chain_id}:{contracts.escrow(event.chain_id)}:{said.deposit_id}"
        return subject, FactKind.DEPOSIT_TOTAL, body

    return read


def _shortfalls(event: chain.ChainEvent, contracts: Contracts) -> list[Said]:
    """What the lines of a group asked of each deposit in vain; several may be of one deposit."""
    said, missing = event.group_settled, dict[str, int]()
    for line in said.lines:
        if shortfall := parse_amount(line.due) - parse_amount(line.paid):
            missing[line.deposit_id] = missing.get(line.deposit_id, 0) + shortfall
    prefix = f"deposit:{event.chain_id}:{contracts.escrow(event.chain_id)}"
    return [
        (
            f"{prefix}:{deposit}",
            FactKind.DEPOSIT_SHORTFALL,
            {"operator": said.operator, "amount": str(amount)},
        )
        for deposit, amount in missing.items()
    ]


def _mandated(event: chain.ChainEvent, contracts: Contracts) -> Said:
    said = event.mandate_opened
    body: Body = {
        "deposit_id": said.deposit_id,
        "payer": said.payer,
        "operator": said.operator,
        "token": said.token,
        "window_amount": str(parse_amount(said.window_amount)),
        "total_amount": str(parse_amount(said.total_amount)),
        "window_s": said.window_s,
        "window_records": said.window_records,
        "in_flight_cap": str(parse_amount(said.in_flight_cap)),
        "grace_s": said.grace_s,
        "valid_from": said.valid_from,
        "valid_until": said.valid_until,
        "asset_ids": ",".join(said.asset_ids),
    }
    return _mandate(event, contracts, said.mandate_id), FactKind.MANDATE_OPENED, body


def _mandate_revoked(event: chain.ChainEvent, contracts: Contracts) -> Said:
    return _mandate(event, contracts, event.mandate_revoked.mandate_id), FactKind.MANDATE_REVOKED, {}


def _mandate(event: chain.ChainEvent, contracts: Contracts, mandate_id: str) -> str:
    return f"mandate:{event.chain_id}:{contracts.escrow(event.chain_id)}:{mandate_id}"


def _direct_draws(event: chain.ChainEvent, contracts: Contracts) -> Said:
    said = event.direct_draws_set
    subject = f"deposit:{event.chain_id}:{contracts.escrow(event.chain_id)}:{said.deposit_id}"
    return subject, FactKind.DIRECT_DRAWS, {"until": said.until}


# A withdrawal changes nothing here: what it pays out left the total with the request.
_READERS: dict[str, Callable[[chain.ChainEvent, Contracts], Said | None]] = {
    "asset_registered": _registered,
    "version_activated": _activated,
    "plan_created": _planned,
    "series_opened": _series,
    "license_purchased": _purchased,
    "license_renewed": _renewed,
    "license_transferred": _transferred,
    "update_user": _delegated,
    "license_revoked": _revoked,
    "license_migrated": _migrated,
    "deposited": _deposit("deposited"),
    "exit_requested": _deposit("exit_requested"),
    "exit_drawn": _deposit("exit_drawn"),
    "mandate_opened": _mandated,
    "mandate_revoked": _mandate_revoked,
    "direct_draws_set": _direct_draws,
}


def record_of(said: usage.UsageRecorded) -> Record:
    """What licensing reads of a usage record."""
    return Record(
        lease_id=said.lease_id,
        sequence=said.sequence,
        last=said.last,
        grant_id=said.grant_id,
        account_id=said.account_id,
        plan_id=said.plan_id,
        asset_id=said.asset_id,
        units=said.units,
    )


def _moment(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


_SOURCES = {
    Source.LICENSE: licensing.GRANT_SOURCE_LICENSE,
    Source.CREDITS: licensing.GRANT_SOURCE_CREDITS,
    Source.DEPOSIT: licensing.GRANT_SOURCE_DEPOSIT,
    Source.MANDATE: licensing.GRANT_SOURCE_MANDATE,
}


def source_number(source: Source) -> licensing.GrantSource.ValueType:
    """A source as protobuf counts them."""
    return _SOURCES[source]


def grant_message(grant: Grant, account_id: str) -> licensing.GrantChanged:
    """The whole state of a grant."""
    balance = grant.balance
    return licensing.GrantChanged(
        event_id=f"{grant.grant_id}:{grant.version}",
        grant_id=grant.grant_id,
        version=grant.version,
        generation=grant.generation,
        source=_SOURCES[grant.source],
        state=grant.public_state,
        account_id=account_id,
        wallet=grant.wallet,
        chain_id=grant.chain_id,
        contract=grant.contract,
        token_id=grant.token_id,
        window=grant.window,
        plan_id=grant.plan_key.rpartition(":")[2],
        asset_id=grant.asset_id,
        granted=str(balance.granted),
        free=str(balance.free),
        leased=str(balance.leased),
        suspended=str(balance.suspended),
        spent=str(balance.spent),
        lapsed=str(balance.lapsed),
        currency=grant.currency,
        operator=grant.operator,
        end_time=grant.end_time,
        user=grant.user,
        user_until=grant.user_until,
    )


def grant_changed(grant: Grant, account_id: str) -> Outgoing:
    """Tell the whole state of a grant."""
    message = grant_message(grant, account_id)
    return Outgoing(message=message, key=grant.grant_id, event_id=message.event_id)


def grant_revoked(change: GrantChange, position: licensing.Position, at: datetime) -> Outgoing:
    """Tell every gateway worker that leases of earlier generations are dead."""
    grant = change.grant
    event_id = f"{grant.grant_id}:revoked:{grant.generation}"
    message = licensing.GrantRevoked(
        event_id=event_id,
        grant_id=grant.grant_id,
        minimum_generation=grant.generation,
        code=str(change.revoked),
        position=position,
        revoked_at=_moment(at),
    )
    return Outgoing(message=message, key=grant.grant_id, event_id=event_id)


def position_of(chain_id: int, block_number: int, block_hash: str) -> licensing.Position:
    """A place in a chain; block 0 while nothing is known of it."""
    return licensing.Position(chain_id=chain_id, block_number=max(0, block_number), block_hash=block_hash)


# The key of decisions about nobody: an unknown credential has no account.
NO_ACCOUNT = "none"


def decision_logged(decision: LoggedDecision) -> Outgoing:
    """Tell the audit trail of a decision."""
    message = licensing.DecisionLogged(
        event_id=decision.decision_id,
        decision_id=decision.decision_id,
        account_id=decision.account_id or "",
        worker_id=decision.worker_id,
        asset_id=decision.asset_id,
        code=decision.code.value,
        grant_id=decision.grant_id,
        lease_id=decision.lease_id,
        units=decision.units,
        position=position_of(decision.chain_id, decision.block_number, decision.block_hash),
        decided_at=_moment(decision.decided_at),
    )
    return Outgoing(message=message, key=decision.account_id or NO_ACCOUNT, event_id=decision.decision_id)


def lease_fenced(lease: Lease, at: datetime) -> Outgoing:
    """Give a lease up, at a place in the usage log that every consumer sees."""
    event_id = f"{lease.lease_id}-fence"
    message = usage.LeaseFenced(
        event_id=event_id, lease_id=lease.lease_id, grant_id=lease.grant_id, fenced_at=_moment(at)
    )
    return Outgoing(message=message, key=lease.lease_id, event_id=event_id)
