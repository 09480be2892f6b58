"""What the chain says, as facts at places, and what a set of facts amounts to.

A fact is one contract event in one block. The indexer tells that it was observed, or retracted, and how often its
block became canonical. Folding the facts that stand now, in chain order, gives the state of a token or a deposit;
so neither the order of arrival nor a repetition can change the outcome.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an event stands in its chain."""

    block_number: int
    log_index: int


class FactKind(StrEnum):
    """Contract events that rights depend on."""

    ASSET_REGISTERED = "asset_registered"
    VERSION_ACTIVATED = "version_activated"
    PLAN_CREATED = "plan_created"
    LICENSE_PURCHASED = "license_purchased"
    LICENSE_RENEWED = "license_renewed"
    LICENSE_TRANSFERRED = "license_transferred"
    LICENSE_DELEGATED = "license_delegated"
    LICENSE_REVOKED = "license_revoked"
    LICENSE_MIGRATED = "license_migrated"
    # Every event that states a deposit's total is the same fact.
    DEPOSIT_TOTAL = "deposit_total"
    MANDATE_OPENED = "mandate_opened"
    MANDATE_REVOKED = "mandate_revoked"
    # Whether a deposit's payer lets it be drawn from without a mandate or a voucher.
    DIRECT_DRAWS = "direct_draws"
    # A deposit's token is a series of credits.
    SERIES_OPENED = "series_opened"
    # A settled line that its deposit could not pay in full.
    DEPOSIT_SHORTFALL = "deposit_shortfall"


@dataclass(frozen=True, slots=True)
class Fact:
    """What one event says of one thing. `subject` is what that is: `<asset|plan|license|deposit|mandate|series>:<key>`.

    `body` holds the event's own words as text and numbers. Of two messages about one event, the one of the higher
    `incarnation` is newer, and within one incarnation a retraction is newer than an observation.
    """

    chain_id: int
    block_hash: str
    place: Place
    subject: str
    kind: FactKind
    body: Mapping[str, str | int | bool]
    incarnation: int
    standing: bool

    @property
    def origin(self) -> str:
        """The event's identity within its chain, the same however often its block returns."""
        return f"{self.block_hash}:{self.place.log_index}"

    @property
    def rank(self) -> tuple[int, bool]:
        """Orders messages about one event from old to new."""
        return self.incarnation, not self.standing


@dataclass(frozen=True, slots=True)
class Plan:
    """Immutable sale terms. `plan_key` is also the price book version, `<chain_id>:<planbook>:<plan_id>`.

    `unit_price` and `optimistic_amount` are in the currency's smallest unit. `seats` 0: no limit of calls at once.
    """

    plan_key: str
    chain_id: int
    plan_id: str
    asset_id: str
    currency: str
    period_s: int
    included_units: int
    unit_price: int
    metering_rule: str
    requests_per_s: int
    transferable: bool
    optimistic_units: int
    optimistic_amount: int
    server: str
    trial_units: int = 0
    seats: int = 0


@dataclass(frozen=True, slots=True)
class Series:
    """A series of credits: a unit of it pays for a unit of its plan, until `expires_at` (Unix seconds)."""

    plan_key: str
    asset_id: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class Asset:
    """A model that can be called. `version_digest` is None while no version is active."""

    asset_id: str
    chain_id: int
    slug: str
    version_digest: str | None
    last_block: int


@dataclass(frozen=True, slots=True)
class Purchased:
    """A license came into being: `recipient` holds it, `payer` paid. `origin` names this event in its block."""

    place: Place
    origin: str
    plan_key: str
    asset_id: str
    payer: str
    recipient: str
    end_time: int
    trial: bool = False


@dataclass(frozen=True, slots=True)
class Renewed:
    """One more term was paid for; `ordinal` counts renewals from 1 and names the new window."""

    place: Place
    origin: str
    payer: str
    end_time: int
    ordinal: int


@dataclass(frozen=True, slots=True)
class Transferred:
    """The license moved to another wallet."""

    place: Place
    sender: str
    recipient: str


@dataclass(frozen=True, slots=True)
class Delegated:
    """The holder lets `user` use the license until then (Unix seconds); an empty `user`: nobody any more."""

    place: Place
    user: str
    until: int


@dataclass(frozen=True, slots=True)
class Revoked:
    """The license was ended for a breach, for good."""

    place: Place


@dataclass(frozen=True, slots=True)
class Migrated:
    """Its holder took the license into the next generation: the burn that stands right before took it from nobody."""

    place: Place
    holder: str


LicenseFact = Purchased | Renewed | Transferred | Delegated | Revoked | Migrated


@dataclass(frozen=True, slots=True)
class Window:
    """One term of a license, paid or its plan's trial.

    `origin` tells this payment from another one that later took the same ids.
    """

    ordinal: int
    origin: str
    payer: str
    end_time: int
    block_number: int
    trial: bool = False


@dataclass(frozen=True, slots=True)
class License:
    """A license as the standing facts say it is.

    `user` is who it was delegated to last, `user_until` when that ends or 0 once it was taken back.
    """

    plan_key: str
    asset_id: str
    holder: str
    former_holders: frozenset[str]
    windows: tuple[Window, ...]
    moved: bool
    user: str = ""
    user_until: int = 0
    revoked: bool = False


@dataclass(slots=True)
class _Folding:
    purchase: Purchased
    holder: str
    former: set[str] = field(default_factory=set)
    windows: list[Window] = field(default_factory=list)
    user: str = ""
    user_until: int = 0
    revoked: bool = False


def fold_license(facts: Iterable[LicenseFact]) -> License | None:
    """The license that these standing facts of one token amount to; None without a purchase.

    Facts may come in any order. Facts placed before the purchase belong to another life of the token id and are
    ignored.
    """
    state: _Folding | None = None
    for fact in sorted(facts, key=lambda fact: fact.place):
        if isinstance(fact, Purchased):
            first = Window(0, fact.origin, fact.payer, fact.end_time, fact.place.block_number, fact.trial)
            state = _Folding(purchase=fact, holder=fact.recipient, windows=[first])
        elif state is not None:
            _advance(state, fact)
    if state is None:
        return None
    return License(
        plan_key=state.purchase.plan_key,
        asset_id=state.purchase.asset_id,
        holder=state.holder,
        former_holders=frozenset(state.former - {state.holder}),
        windows=tuple(state.windows),
        moved=bool(state.former),
        user=state.user,
        user_until=state.user_until,
        revoked=state.revoked,
    )


def _advance(state: _Folding, fact: Renewed | Transferred | Delegated | Revoked | Migrated) -> None:
    match fact:
        case Renewed():
            block = fact.place.block_number
            state.windows.append(Window(fact.ordinal, fact.origin, fact.payer, fact.end_time, block))
        case Transferred():
            state.former.add(state.holder)
            state.holder = fact.recipient
            state.user_until = 0  # a new holder is bound by no delegation of the old one
        case Delegated():
            state.user, state.user_until = fact.user or state.user, fact.until if fact.user else 0
        case Revoked():
            state.revoked = True
        case Migrated():
            state.holder = fact.holder
            state.former.discard(fact.holder)


@dataclass(frozen=True, slots=True)
class DepositTotals:
    """A deposit's total (spendable plus everything ever drawn or written off), in smallest currency units.

    `latest` is the total at the head. `floor` is what no reorganisation can take away: the least of the final total
    and of every total since, because a reorganisation may keep any beginning of what is not final.
    """

    latest: int
    floor: int


def deposit_totals(final_total: int, later_totals: Iterable[int], *, written_off: int = 0) -> DepositTotals:
    """Totals of a deposit whose newest final event says `final_total`, followed by these that are not final.

    `written_off` is what final settlements asked for and the deposit did not have: that use is spent, nobody will
    pay it any more, so it must not eat the money that comes later.
    """
    latest = floor = final_total
    for total in later_totals:
        latest, floor = total, min(floor, total)
    return DepositTotals(latest + written_off, floor + written_off)


def license_fact(fact: Fact) -> LicenseFact:
    """What a kept event says of its license."""
    body = fact.body
    match fact.kind:
        case FactKind.LICENSE_PURCHASED:
            return Purchased(
                place=fact.place,
                origin=fact.origin,
                plan_key=str(body["plan_key"]),
                asset_id=str(body["asset_id"]),
                payer=str(body["payer"]),
                recipient=str(body["recipient"]),
                end_time=int(body["end_time"]),
                trial=bool(body.get("trial", False)),
            )
        case FactKind.LICENSE_RENEWED:
            return Renewed(
                fact.place, fact.origin, str(body["payer"]), int(body["end_time"]), int(body["ordinal"])
            )
        case FactKind.LICENSE_TRANSFERRED:
            return Transferred(fact.place, str(body["from"]), str(body["to"]))
        case FactKind.LICENSE_DELEGATED:
            return Delegated(fact.place, str(body["user"]), int(body["until"]))
        case FactKind.LICENSE_REVOKED:
            return Revoked(fact.place)
        case FactKind.LICENSE_MIGRATED:
            return Migrated(fact.place, str(body["holder"]))
        case _:
            raise ValueError(f"{fact.kind} says nothing of a license")


def series_subject(chain_id: int, token: str) -> str:
    """The subject of what is said of a series."""
    return f"series:{chain_id}:{token}"


def series_of(fact: Fact) -> Series:
    """The series that a kept event opened."""
    body = fact.body
    return Series(str(body["plan_key"]), str(body["asset_id"]), int(body["expires_at"]))


def plan_of(fact: Fact) -> Plan:
    """The plan that a kept event created."""
    body = fact.body
    return Plan(
        plan_key=str(body["plan_key"]),
        chain_id=fact.chain_id,
        plan_id=str(body["plan_id"]),
        asset_id=str(body["asset_id"]),
        currency=str(body["currency"]),
        period_s=int(body["period_s"]),
        included_units=int(body["included_units"]),
        unit_price=int(body["unit_price"]),
        metering_rule=str(body["metering_rule"]),
        requests_per_s=int(body["requests_per_s"]),
        transferable=bool(body["transferable"]),
        optimistic_units=int(body["optimistic_units"]),
        optimistic_amount=int(body["optimistic_amount"]),
        server=str(body["server"]),
        trial_units=int(body.get("trial_units", 0)),
        seats=int(body.get("seats", 0)),
    )
