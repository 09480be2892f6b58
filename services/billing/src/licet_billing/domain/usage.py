"""Rating: what one metered call costs, and whether anybody owes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import Final

from licet_schemas import settlement

from licet_billing.domain.errors import GrantUnknown, PlanUnknown, RecordInconsistent

# What a charge that is drawn from the deposit itself names as its authority.
DIRECT: Final = "0x" + settlement.DIRECT.hex()


class Source(StrEnum):
    """What kind of right a call used."""

    LICENSE = "license"
    CREDITS = "credits"
    DEPOSIT = "deposit"
    MANDATE = "mandate"


class Outcome(IntEnum):
    """How a call ended; the numbers are those of the usage log and of receipts."""

    OK = 1
    CANCELLED = 2
    UPSTREAM_ERROR = 3
    CLIENT_GONE = 4
    ABORTED = 5


class Disposition(StrEnum):
    """What became of a call's price."""

    BILLED = "billed"
    # Behind the end of its lease, which is its fence or its last record: operator loss, for good.
    FENCED = "fenced"
    # Beyond what its grant covers, or of a plan that a reorg removed: operator loss, until both are there.
    UNCOVERED = "uncovered"


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """One metered call as the gateway logged it. Ids and hashes are text; times are Unix milliseconds."""

    request_id: str
    lease_id: str
    sequence: int
    last: bool
    account_id: str
    account_lease: int
    grant_id: str
    asset_id: str
    version_digest: str
    plan_id: str
    metering_rule: str
    units: int
    price_book_version: str
    outcome: Outcome
    started_at_ms: int
    ended_at_ms: int
    request_commitment: bytes
    response_commitment: bytes

    @property
    def is_closing_marker(self) -> bool:
        """Whether this only ends its lease and is no call: it commits to nothing, where a call commits at least to
        the hash of its name."""
        commits = any(self.request_commitment) or any(self.response_commitment)
        return self.last and self.units == 0 and self.outcome is Outcome.ABORTED and not commits


@dataclass(frozen=True, slots=True)
class Grant:
    """A spendable right, as licensing states it, and how much of it has been charged.

    `granted` and `charged` are units for a license and smallest currency units for the others; the currency of credits
    is their series, so that they are units again. `token_id` is the license's token, the deposit's id or the mandate's,
    and `window` the mandate's window.
    """

    grant_id: str
    version: int
    source: Source
    state: str
    account_id: str
    wallet: str
    chain_id: int
    contract: str
    token_id: str
    plan_id: str
    asset_id: str
    currency: str
    operator: str
    granted: int
    charged: int = 0
    window: int = 0

    @property
    def deposit_id(self) -> str:
        """The deposit that pays what it grants; empty for a license. Raises RecordInconsistent for a wrong address."""
        if self.source is not Source.MANDATE:
            return "" if self.source is Source.LICENSE else self.token_id
        try:
            return "0x" + settlement.deposit_id(self.wallet, self.operator, self.currency).hex()
        except ValueError as error:
            raise RecordInconsistent("mandate grant", str(error), "addresses") from error

    @property
    def authority(self) -> str:
        """What lets the operator draw: the mandate, or DIRECT."""
        return self.token_id if self.source is Source.MANDATE else DIRECT


@dataclass(frozen=True, slots=True, order=True)
class PlanKey:
    """A plan's place in the price book; its text is the price-book version that leases lock."""

    chain_id: int
    contract: str
    plan_id: str

    @property
    def version(self) -> str:
        """The price-book version's text."""
        return f"{self.chain_id}:{self.contract}:{self.plan_id}"

    @classmethod
    def parse(cls, price_book_version: str) -> PlanKey:
        """Reads `<chain id>:<plan book>:<plan id>`. Raises RecordInconsistent for anything else."""
        parts = price_book_version.split(":")
        if len(parts) != 3 or not parts[0].isdigit():
            raise RecordInconsistent(
                "price_book_version", price_book_version, "<chain>:<plan book>:<plan id>"
            )
        return cls(int(parts[0]), parts[1], parts[2])


@dataclass(frozen=True, slots=True)
class Plan:
    """The terms of a plan that rating needs; a plan never changes. `gone`: its log has left the chain."""

    key: PlanKey
    asset_id: str
    currency: str
    unit_price: int
    metering_rule: str
    server: str
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Charge:
    """What billing made of one call.

    `value` is units times unit price where a deposit pays, units of their series where credits do, and what the
    included units would have cost where a license does; `amount` is what the payer owes of it. `deposit_id` is empty
    for a license. `authority` is DIRECT, or the mandate in whose `window` it was used.
    """

    request_id: str
    source: Source
    chain_id: int
    operator: str
    payer: str
    deposit_id: str
    currency: str
    units: int
    unit_price: int
    value: int
    amount: int
    disposition: Disposition
    authority: str = DIRECT
    window: int = 0

    @property
    def quantity(self) -> int:
        """How much of its grant it takes."""
        return self.units if self.source is Source.LICENSE else self.value


def _expect(field: str, found: str, expected: str) -> None:
    if found != expected:
        raise RecordInconsistent(field, found, expected)


def check_identity(record: UsageRecord) -> None:
    """Raises RecordInconsistent unless the record is named after its lease and a sequence from 1."""
    _expect("request_id", record.request_id, f"{record.lease_id}-{record.sequence}")
    if record.sequence < 1:
        raise RecordInconsistent("sequence", str(record.sequence), ">= 1")


def check(record: UsageRecord, grant: Grant, plan: Plan) -> None:
    """Raises RecordInconsistent where a record contradicts the right or the terms that it names.

    Raises GrantUnknown for a deposit whose token is not the plan's currency: that of a series of credits is told as a
    plain deposit until licensing knows the series, and only afterwards is it used.
    """
    check_identity(record)
    if record.outcome is Outcome.UPSTREAM_ERROR:
        _expect("units of a call that failed upstream", str(record.units), "0")
    _expect("asset_id", record.asset_id, plan.asset_id)
    _expect("plan_id", record.plan_id, plan.key.plan_id)
    _expect("metering_rule", record.metering_rule, plan.metering_rule)
    _expect("grant chain", str(grant.chain_id), str(plan.key.chain_id))
    if grant.source in (Source.LICENSE, Source.CREDITS):
        _expect("grant plan", grant.plan_id, plan.key.plan_id)
    elif grant.source is Source.DEPOSIT and grant.currency != plan.currency:
        raise GrantUnknown(grant.grant_id)
    else:
        _expect("grant currency", grant.currency, plan.currency)
    if grant.source is not Source.LICENSE:
        _expect("grant operator", grant.operator, plan.server)


def terms_of(record: UsageRecord, stated: Sequence[Plan]) -> Plan:
    """The plan that a call used: the first of these statements of it that fits, because a reorg gives ids anew.

    Raises PlanUnknown where none fits and none stands: that of the plan which has the id now is still on its way.
    """
    terms = (record.asset_id, record.metering_rule)
    fitting = [plan for plan in stated if (plan.asset_id, plan.metering_rule) == terms]
    if not fitting and all(plan.gone for plan in stated):
        raise PlanUnknown(record.price_book_version)
    return next(iter(fitting), stated[0])


def cover(charge: Charge, grant: Grant) -> tuple[Charge, Grant]:
    """Bills the charge if its grant covers it as a whole; otherwise both come back as they were."""
    charged = grant.charged + charge.quantity
    if charged > grant.granted:
        return charge, grant
    amount = 0 if charge.source is Source.LICENSE else charge.value
    billed = replace(charge, amount=amount, disposition=Disposition.BILLED)
    return billed, replace(grant, charged=charged)


def rate(record: UsageRecord, grant: Grant, plan: Plan, *, fenced: bool) -> tuple[Charge, Grant]:
    """The charge of a call, and its grant with the charged quantity raised.

    One price for each unit, and a license's included units are free: the terms of a plan. One unit of credits pays for
    one unit of their plan. A call behind its lease's end, beyond what its grant covers, or of a plan that is gone, is
    operator loss and takes nothing of the grant.
    Raises RecordInconsistent and GrantUnknown as `check` does.
    """
    check(record, grant, plan)
    prepaid = grant.source is Source.CREDITS
    unit_price = 1 if prepaid else plan.unit_price
    charge = Charge(
        request_id=record.request_id,
        source=grant.source,
        chain_id=plan.key.chain_id,
        operator=plan.server,
        payer=grant.wallet,
        deposit_id=grant.deposit_id,
        currency=grant.currency if prepaid else plan.currency,
        units=record.units,
        unit_price=unit_price,
        value=record.units * unit_price,
        amount=0,
        disposition=Disposition.FENCED if fenced else Disposition.UNCOVERED,
        authority=grant.authority,
        window=grant.window,
    )
    return (charge, grant) if fenced or plan.gone else cover(charge, grant)
