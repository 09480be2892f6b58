"""What the contracts said, one type for each event that leaves the indexer.

Names and fields are those of `licet.chain.v1`; `from_` is its `from`. Amounts and ids are ints here and decimal strings
on the wire; addresses and hashes are lowercase 0x-hex in both.
"""

from __future__ import annotations

from dataclasses import dataclass

from licet_indexer.domain.abroad import MirrorBound, OwnerReported
from licet_indexer.domain.credits import CreditsExpired, CreditsIssued, CreditsRedeemed, SeriesOpened
from licet_indexer.domain.settled import (
    BatchSettled,
    ChargeChallenged,
    DirectDrawsSet,
    DrawRefunded,
    GroupSettled,
    HoldReleased,
    Settled,
)


@dataclass(frozen=True, slots=True)
class AssetRegistered:
    """An asset came into being; also stands for the mint of its token."""

    asset_id: str
    token_id: int
    owner: str
    asset_kind: int
    slug: str


@dataclass(frozen=True, slots=True)
class AssetTransferred:
    """An asset's token changed hands."""

    asset_id: str
    token_id: int
    from_: str
    to: str


@dataclass(frozen=True, slots=True)
class VersionPublished:
    """An immutable version exists; `ordinal` counts from 1."""

    asset_id: str
    version_digest: str
    uri: str
    ordinal: int


@dataclass(frozen=True, slots=True)
class VersionActivated:
    """The asset's active version is now this one."""

    asset_id: str
    version_digest: str


@dataclass(frozen=True, slots=True)
class PlanTerms:
    """Sale terms, immutable. Amounts in the smallest unit of `currency`."""

    asset_id: str
    currency: str
    price: int
    period_s: int
    included_units: int
    unit_price: int
    metering_rule: str
    requests_per_s: int
    transferable: bool
    commercial: bool
    optimistic_units: int
    optimistic_amount: int
    server: str
    terms_digest: str
    breach_notice_s: int
    breach_grounds: str
    supply: int
    per_recipient: int
    trial_period_s: int
    trial_units: int
    seats: int


@dataclass(frozen=True, slots=True)
class PlanCreated:
    """A plan is on sale."""

    plan_id: int
    creator: str
    terms: PlanTerms


@dataclass(frozen=True, slots=True)
class PlanClosed:
    """A plan takes no purchase and no renewal any more."""

    plan_id: int
    asset_id: str


@dataclass(frozen=True, slots=True)
class LicensePurchased:
    """A licence was minted to `recipient`. Times in Unix seconds."""

    token_id: int
    plan_id: int
    asset_id: str
    payer: str
    recipient: str
    price: int
    start_time: int
    end_time: int
    trial: bool = False


@dataclass(frozen=True, slots=True)
class LicenseRenewed:
    """A licence runs to a later end; `ordinal` counts renewals from 1."""

    token_id: int
    plan_id: int
    asset_id: str
    payer: str
    price: int
    end_time: int
    ordinal: int


@dataclass(frozen=True, slots=True)
class LicenseMigrated:
    """A license lives on, under its id, in a later generation; `from_` is the contract that it left."""

    token_id: int
    plan_id: int
    asset_id: str
    from_: str
    holder: str
    start_time: int
    end_time: int
    ordinal: int
    trial: bool


@dataclass(frozen=True, slots=True)
class LicenseRevoked:
    """A licence ended for a breach, at `end_time` and for good. The asset comes from the mirror."""

    token_id: int
    plan_id: int
    asset_id: str
    end_time: int


@dataclass(frozen=True, slots=True)
class LicenseTransferred:
    """A licence changed hands. Plan and asset come from the mirror, since ERC-721's Transfer does not name them."""

    token_id: int
    plan_id: int
    asset_id: str
    from_: str
    to: str


@dataclass(frozen=True, slots=True)
class UpdateUser:
    """The holder lets `user` use a licence until `expires`, Unix seconds; the zero address and 0: nobody any more.

    Plan and asset come from the mirror. Named by ERC-4907.
    """

    token_id: int
    plan_id: int
    asset_id: str
    user: str
    expires: int


@dataclass(frozen=True, slots=True)
class Deposited:
    """Money came in. `balance` is spendable afterwards; `total` adds all that settlements ever drew."""

    deposit_id: str
    payer: str
    operator: str
    token: str
    amount: int
    balance: int
    total: int


@dataclass(frozen=True, slots=True)
class ExitRequested:
    """Money left the spendable balance and waits until `unlock_time`."""

    exit_id: int
    deposit_id: str
    payer: str
    operator: str
    token: str
    amount: int
    unlock_time: int
    balance: int
    total: int


@dataclass(frozen=True, slots=True)
class ExitDrawn:
    """A settlement took `amount` from a waiting exit."""

    exit_id: int
    deposit_id: str
    payer: str
    operator: str
    token: str
    amount: int
    remaining: int
    total: int


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """An exit was paid out."""

    exit_id: int
    deposit_id: str
    payer: str
    operator: str
    token: str
    amount: int


@dataclass(frozen=True, slots=True)
class MandateOpened:
    """A payer lets an operator draw from a deposit. Lengths and times in seconds; no `asset_ids`: any asset."""

    mandate_id: str
    deposit_id: str
    payer: str
    operator: str
    token: str
    window_amount: int
    total_amount: int
    in_flight_cap: int
    window_s: int
    window_records: int
    grace_s: int
    valid_from: int
    valid_until: int
    asset_ids: tuple[str, ...]
    nonce: int


@dataclass(frozen=True, slots=True)
class MandateRevoked:
    """Later use is forbidden; until `settle_until` at most `remaining` is drawn for earlier use."""

    mandate_id: str
    payer: str
    operator: str
    token: str
    revoked_at: int
    settle_until: int
    remaining: int


@dataclass(frozen=True, slots=True)
class RevenueReceived:
    """Revenue of an asset. `source` is sale, usage, royalty or expiry.

    `reference` is the licence's token id, the id of what was held, the asset that paid the royalty, or the series of
    credits whose units ended unused.
    """

    asset_id: str
    token: str
    amount: int
    payer_contract: str
    reference: str
    payee: str
    source: str


@dataclass(frozen=True, slots=True)
class Distributed:
    """Pending revenue became claimable: `amount = fee + payee_amount`."""

    asset_id: str
    token: str
    amount: int
    fee: int
    payee: str
    payee_amount: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claimable balance was paid out."""

    account: str
    token: str
    amount: int


@dataclass(frozen=True, slots=True)
class OperatorKeySet:
    """A receipt key is valid for `valid_from <= t < valid_until`, Unix seconds."""

    operator: str
    receipt_key: str
    valid_from: int
    valid_until: int


Payload = (
    AssetRegistered
    | AssetTransferred
    | VersionPublished
    | VersionActivated
    | PlanCreated
    | PlanClosed
    | LicensePurchased
    | LicenseRenewed
    | LicenseRevoked
    | LicenseMigrated
    | LicenseTransferred
    | UpdateUser
    | Deposited
    | ExitRequested
    | ExitDrawn
    | Withdrawn
    | Settled
    | MandateOpened
    | MandateRevoked
    | RevenueReceived
    | Distributed
    | Claimed
    | OperatorKeySet
    | MirrorBound
    | OwnerReported
    | SeriesOpened
    | CreditsIssued
    | CreditsRedeemed
    | CreditsExpired
)


def key_of(payload: Payload) -> str:
    """Record key on Kafka: events of one key stay in chain order.

    The asset for rights and revenue; `payer:operator` for deposits, exits and mandates; `account:token` for claims; the
    operator for its batches, their groups, holds and disputes, and its keys.
    """
    match payload:
        case Deposited() | ExitRequested() | ExitDrawn() | Withdrawn() | DirectDrawsSet():
            return f"{payload.payer}:{payload.operator}"
        case MandateOpened() | MandateRevoked():
            return f"{payload.payer}:{payload.operator}"
        case Claimed():
            return f"{payload.account}:{payload.token}"
        case GroupSettled() | BatchSettled() | HoldReleased() | ChargeChallenged() | DrawRefunded():
            return payload.operator
        case OperatorKeySet():
            return payload.operator
        case PlanCreated():
            return payload.terms.asset_id
        case _:
            return payload.asset_id
