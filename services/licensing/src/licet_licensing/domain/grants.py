"""A grant: one spendable right, what the chain says of it, and its generation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from licet_licensing.domain.balance import Balance
from licet_licensing.domain.codes import Code
from licet_licensing.domain.facts import DepositTotals, Plan, Series, Window


class Source(StrEnum):
    """What kind of right a grant is."""

    LICENSE = "license"
    CREDITS = "credits"
    DEPOSIT = "deposit"
    MANDATE = "mandate"


class GrantState(StrEnum):
    """Where a grant stands. Quarantine is a flag beside it, because it ends."""

    PROVISIONAL = "provisional"
    LIVE = "live"
    EXPIRED = "expired"
    TRANSFERRED = "transferred"
    REVOKED = "revoked"
    RETRACTED = "retracted"


_FALLEN = frozenset({GrantState.TRANSFERRED, GrantState.REVOKED, GrantState.RETRACTED})


@dataclass(frozen=True, slots=True)
class Grant:
    """One right. `wallet` holds it, `payer` paid for it. `end_time` 0: it does not end.

    `user` is who a license was delegated to last: it alone may use the license before `user_until`, its holder alone
    from then on.

    `floor` is the part of a deposit's target that no reorganisation can take away. `origin` names the purchase.
    `draws_on` is the deposit that pays for what a mandate's window grants: all that is done with the window is done
    with the deposit as well. Of a deposit that is `mandates_only` nothing is lent but through mandates.

    Leases of a lower `generation` are dead. `version` counts the changes that others are told of.
    """

    grant_id: str
    source: Source
    chain_id: int
    contract: str
    token_id: str
    window: int
    wallet: str
    payer: str
    operator: str
    currency: str
    plan_key: str
    asset_id: str
    origin: str
    state: GrantState
    balance: Balance
    end_time: int
    floor: int = 0
    generation: int = 1
    version: int = 1
    quarantined: bool = False
    user: str = ""
    user_until: int = 0
    draws_on: str = ""
    mandates_only: bool = False

    def is_delegated(self, now: float) -> bool:
        """Whether somebody else than the holder may use it at `now` (unix seconds)."""
        return now < self.user_until

    def user_at(self, now: float) -> str:
        """The one wallet that may use it at `now`."""
        return self.user if self.is_delegated(now) else self.wallet

    def ends_for_user(self, now: float) -> int:
        """When the right ends for who may use it at `now`."""
        return min(self.end_time, self.user_until) if self.is_delegated(now) else self.end_time

    @property
    def is_standing(self) -> bool:
        """Whether the chain carries this right, whatever the time is."""
        return self.state not in _FALLEN

    def is_running(self, now: float) -> bool:
        """Whether the right stands and has not ended at `now` (unix seconds)."""
        return self.is_standing and (self.end_time == 0 or now < self.end_time)

    @property
    def public_state(self) -> str:
        """The state that others are told."""
        return "quarantined" if self.quarantined else self.state.value

    def with_balance(self, balance: Balance) -> Grant:
        """The grant after its units moved."""
        return replace(self, balance=balance, version=self.version + 1)


@dataclass(frozen=True, slots=True)
class Debt:
    """Use that a reorganisation left without a right: the operator's loss until the payer's later right covers it."""

    payer: str
    wallet: str
    plan_key: str
    grant_id: str
    units: int


@dataclass(frozen=True, slots=True)
class GrantChange:
    """A grant after a change of its right. `revoked` is set when leases of earlier generations are dead.

    `orphaned`: those leases belong to a right that is gone, and hold nothing of this grant any more.
    """

    grant: Grant
    revoked: Code | None = None
    orphaned: bool = False
    debt: Debt | None = None


@dataclass(frozen=True, slots=True)
class LicenseWindow:
    """What the chain says about one window: who holds and who uses it, and how much it grants."""

    window: Window
    holder: str
    moved: bool
    plan: Plan
    final_block: int
    user: str = ""
    user_until: int = 0
    revoked: bool = False

    @property
    def is_final(self) -> bool:
        """Whether no reorganisation can take the payment back."""
        return self.window.block_number <= self.final_block

    @property
    def target(self) -> int:
        """Units granted now."""
        included = self.plan.trial_units if self.window.trial else self.plan.included_units
        return included if self.is_final else min(included, self.plan.optimistic_units)

    @property
    def state(self) -> GrantState:
        """Where the window stands, its end aside."""
        if self.revoked:
            return GrantState.REVOKED
        if self.moved and not self.plan.transferable:
            return GrantState.TRANSFERRED
        return GrantState.LIVE if self.is_final else GrantState.PROVISIONAL


def open_license_grant(said: LicenseWindow, grant_id: str, contract: str, token_id: str, now: float) -> Grant:
    """The grant of a window that is seen for the first time."""
    return Grant(
        grant_id=grant_id,
        source=Source.LICENSE,
        chain_id=said.plan.chain_id,
        contract=contract,
        token_id=token_id,
        window=said.window.ordinal,
        wallet=said.holder,
        payer=said.window.payer,
        operator=said.plan.server,
        currency=said.plan.currency,
        plan_key=said.plan.plan_key,
        asset_id=said.plan.asset_id,
        origin=said.window.origin,
        state=_state_at(said.state, said.window.end_time, now),
        balance=Balance(target=said.target, ended=now >= said.window.end_time),
        end_time=said.window.end_time,
        user=said.user,
        user_until=said.user_until,
    )


def follow_license(grant: Grant, said: LicenseWindow | None, now: float) -> GrantChange | None:
    """The change that the chain's word makes to a license grant; None when it says what is known already.

    A window that left the chain, or that another purchase took, gives up its units: what was spent becomes a debt of
    the one who paid. A new holder or user keeps the units. All of them end every lease of the old generation.
    """
    if said is None:
        return None if grant.state is GrantState.RETRACTED else _retract(grant)
    if grant.state is not GrantState.RETRACTED and grant.origin != said.window.origin:
        gone = _retract(grant)
        return replace(gone, grant=_adopt(gone.grant, said, now))
    after = _adopt(grant, said, now)
    if after == grant:
        return None
    moved = grant.is_standing and (after.wallet != grant.wallet or not after.is_standing)
    why = Code.LICENSE_REVOKED if after.state is GrantState.REVOKED else Code.LICENSE_TRANSFERRED
    revoked = why if moved else _taken_from_user(grant, after, now)
    if revoked is not None:
        after = replace(after, generation=grant.generation + 1)
    after = replace(after, version=grant.version + 1)
    return GrantChange(after, revoked=revoked)


def _taken_from_user(before: Grant, after: Grant, now: float) -> Code | None:
    """Why leases of who could use the right before are dead; None when nothing was taken from that account.

    A delegation that only ends later than before takes nothing. One that is over by its time needs no revocation: no
    lease of its user was lent beyond that time.
    """
    if not before.is_standing or before.user_at(now) == after.user_at(now):
        same = before.is_delegated(now) and after.user_until < before.user_until
        return Code.DELEGATION_ENDED if same and before.is_standing else None
    return Code.DELEGATION_ENDED if before.is_delegated(now) else Code.LICENSE_DELEGATED


def _adopt(grant: Grant, said: LicenseWindow, now: float) -> Grant:
    ended = now >= said.window.end_time
    return replace(
        grant,
        wallet=said.holder,
        payer=said.window.payer,
        operator=said.plan.server,
        currency=said.plan.currency,
        plan_key=said.plan.plan_key,
        asset_id=said.plan.asset_id,
        origin=said.window.origin,
        state=_state_at(said.state, said.window.end_time, now),
        balance=replace(grant.balance, target=said.target, ended=ended),
        end_time=said.window.end_time,
        user=said.user,
        user_until=said.user_until,
    )


def _state_at(state: GrantState, end_time: int, now: float) -> GrantState:
    if state in _FALLEN or now < end_time:
        return state
    return GrantState.EXPIRED


def _retract(grant: Grant) -> GrantChange:
    spent = grant.balance.spent
    debt = Debt(grant.payer, grant.wallet, grant.plan_key, grant.grant_id, spent) if spent else None
    after = replace(
        grant,
        state=GrantState.RETRACTED,
        balance=Balance(ended=grant.balance.ended),
        generation=grant.generation + 1,
        version=grant.version + 1,
    )
    return GrantChange(after, revoked=Code.LICENSE_REVOKED, orphaned=True, debt=debt)


def open_deposit_grant(
    *, grant_id: str, chain_id: int, contract: str, deposit_id: str, payer: str, operator: str, token: str
) -> Grant:
    """The grant of a deposit that is seen for the first time; `follow_deposit` gives it its amount."""
    return Grant(
        grant_id=grant_id,
        source=Source.DEPOSIT,
        chain_id=chain_id,
        contract=contract,
        token_id=deposit_id,
        window=0,
        wallet=payer,
        payer=payer,
        operator=operator,
        currency=token,
        plan_key="",
        asset_id="",
        origin="",
        state=GrantState.PROVISIONAL,
        balance=Balance(),
        end_time=0,
    )


def follow_deposit(
    grant: Grant,
    totals: DepositTotals,
    optimistic: int,
    *,
    mandates_only: bool = False,
    series: Series | None = None,
    now: float = 0,
) -> GrantChange | None:
    """The change that the chain's word makes to a deposit grant; None when nothing changes.

    The target never exceeds the latest total (what an exit asked for leaves at once), nor the floor by more than the
    `optimistic` amount. Committed amounts stay committed: what they lack is remembered as shortage. Leases end only
    when money that was lent against left the chain, which an exit does not do: it stays drawable for earlier use.

    A deposit whose token is a `series` of credits grants units of that plan, until they end. A series that leaves the
    chain takes its deposits along, so that what it was is kept for those that used them.
    """
    target = min(totals.latest, totals.floor + optimistic)
    final = totals.latest == totals.floor
    if series is None and grant.source is Source.CREDITS:
        series = Series(grant.plan_key, grant.asset_id, grant.end_time)
    end_time = series.expires_at if series else 0
    ended = end_time != 0 and now >= end_time
    state = GrantState.LIVE if final else GrantState.PROVISIONAL
    after = replace(
        grant,
        source=Source.CREDITS if series else Source.DEPOSIT,
        plan_key=series.plan_key if series else "",
        asset_id=series.asset_id if series else "",
        end_time=end_time,
        state=GrantState.EXPIRED if ended else state,
        floor=totals.floor,
        balance=replace(grant.balance, target=target, ended=ended),
        mandates_only=mandates_only,
    )
    if after == grant:
        return None
    return GrantChange(replace(after, version=grant.version + 1))


def revoke_uncovered(change: GrantChange) -> GrantChange:
    """The change of a deposit whose money was retracted: its leases die when they are not covered any more."""
    if change.grant.balance.shortage == 0:
        return change
    grant = replace(change.grant, generation=change.grant.generation + 1)
    return replace(change, grant=grant, revoked=Code.QUOTA_EXHAUSTED)


def follow_mandate(grant: Grant, *, stands: bool) -> GrantChange | None:
    """The change of a mandate's window when the mandate was revoked, or its revocation was taken back; None otherwise.

    What was lent and used stays counted: it is settled within the cap that the payer signed.
    """
    if stands == grant.is_standing:
        return None
    state = GrantState.LIVE if stands else GrantState.REVOKED
    after = replace(
        grant, state=state, balance=replace(grant.balance, ended=not stands), version=grant.version + 1
    )
    if stands:
        return GrantChange(after)
    return GrantChange(replace(after, generation=grant.generation + 1), revoked=Code.MANDATE_ENDED)


def end_leases(grant: Grant, why: Code) -> GrantChange:
    """The grant after its leases were ended, because what pays for them is gone."""
    after = replace(grant, generation=grant.generation + 1, version=grant.version + 1)
    return GrantChange(after, revoked=why)


def follow_draws(before: Mapping[str, Grant], after: Mapping[str, Grant]) -> dict[str, Grant]:
    """`after`, with the deposits that these grants draw on doing what the grants did. Both hold the deposits."""
    followed = dict(after)
    for name, grant in after.items():
        was = before[name].balance
        if grant.draws_on and grant.balance != was:
            deposit = followed[grant.draws_on]
            followed[grant.draws_on] = deposit.with_balance(deposit.balance.follow(was, grant.balance))
    return followed


def expire(grant: Grant) -> Grant:
    """The grant after its end: free units lapse. Leases end by themselves, none outlives the right."""
    return replace(
        grant,
        state=GrantState.EXPIRED if grant.is_standing else grant.state,
        balance=replace(grant.balance, ended=True),
        version=grant.version + 1,
    )


def quarantine(grant: Grant) -> GrantChange:
    """The grant while its events cannot be applied: it is denied and its leases are dead."""
    after = replace(grant, quarantined=True, generation=grant.generation + 1, version=grant.version + 1)
    return GrantChange(after, revoked=Code.MIRROR_STALE)


def lift_quarantine(grant: Grant) -> GrantChange:
    """The grant after its parked events were applied in order."""
    return GrantChange(replace(grant, quarantined=False, version=grant.version + 1))
