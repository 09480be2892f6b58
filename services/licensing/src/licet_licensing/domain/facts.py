"""What the chain says, as facts at places, and what a set of facts amounts to.

A fact is one contract event in one block. The indexer tells that it was observed, or retracted, and how often its
block became canonical. Folding the facts that stand now, in chain order, gives the state of a token or a deposit;
so neither the order of arrival nor a repetition can change the outcome.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an event stands in its chain."""

    block_number: int
    log_index: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Immutable sale terms. `plan_key` is also the price book version, `<chain_id>:<planbook>:<plan_id>`.

    `unit_price` and `optimistic_amount` are in the currency's smallest unit.
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
    plan_id: str
    asset_id: str
    payer: str
    recipient: str
    end_time: int


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


LicenseFact = Purchased | Renewed | Transferred


@dataclass(frozen=True, slots=True)
class Window:
    """One paid term of a license. `origin` tells this payment from another one that later took the same ids."""

    ordinal: int
    origin: str
    payer: str
    end_time: int
    block_number: int


@dataclass(frozen=True, slots=True)
class License:
    """A license as the standing facts say it is."""

    plan_id: str
    asset_id: str
    holder: str
    former_holders: frozenset[str]
    windows: tuple[Window, ...]
    moved: bool


@dataclass(slots=True)
class _Folding:
    purchase: Purchased
    holder: str
    former: set[str] = field(default_factory=set)
    windows: list[Window] = field(default_factory=list)


def fold_license(facts: Iterable[LicenseFact]) -> License | None:
    """The license that these standing facts of one token amount to; None without a purchase.

    Facts may come in any order. Facts placed before the purchase belong to another life of the token id and are
    ignored.
    """
    state: _Folding | None = None
    for fact in sorted(facts, key=lambda fact: fact.place):
        if isinstance(fact, Purchased):
            first = Window(0, fact.origin, fact.payer, fact.end_time, fact.place.block_number)
            state = _Folding(purchase=fact, holder=fact.recipient, windows=[first])
        elif state is not None:
            _advance(state, fact)
    if state is None:
        return None
    return License(
        plan_id=state.purchase.plan_id,
        asset_id=state.purchase.asset_id,
        holder=state.holder,
        former_holders=frozenset(state.former - {state.holder}),
        windows=tuple(state.windows),
        moved=bool(state.former),
    )


def _advance(state: _Folding, fact: Renewed | Transferred) -> None:
    if isinstance(fact, Renewed):
        block = fact.place.block_number
        state.windows.append(Window(fact.ordinal, fact.origin, fact.payer, fact.end_time, block))
    else:
        state.former.add(state.holder)
        state.holder = fact.recipient


@dataclass(frozen=True, slots=True)
class DepositTotals:
    """A deposit's total (spendable plus everything ever drawn), in smallest currency units.

    `latest` is the total at the head. `floor` is what no reorganisation can take away: the least of the final total
    and of every total since, because a reorganisation may keep any beginning of what is not final.
    """

    latest: int
    floor: int


def deposit_totals(final_total: int, later_totals: Iterable[int]) -> DepositTotals:
    """Totals of a deposit whose newest final event says `final_total`, followed by these that are not final."""
    latest = floor = final_total
    for total in later_totals:
        latest, floor = total, min(floor, total)
    return DepositTotals(latest, floor)
