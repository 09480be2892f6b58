"""The one decision: may this account call this model, and from which right.

Pure. The rights are tried in a fixed order (own licenses, then delegated ones, then credits, of each the one that ends
soonest first; then the deposit beside a running license, in the order of the licenses) and never mixed. `Explain` runs
the same function, so that it cannot tell another story.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from licet_licensing.domain.codes import MESSAGES, REMEDIES, Code
from licet_licensing.domain.facts import Plan
from licet_licensing.domain.grants import Grant, GrantState, Source
from licet_licensing.domain.mandates import Spending
from licet_licensing.domain.scene import Ask, Policy, Scene, Step


@dataclass(frozen=True, slots=True)
class Approval:
    """The lease to open: `cost` in the grant's measure is what `units` may cost at most."""

    grant: Grant
    plan: Plan
    units: int
    unit_price: int
    ttl_ms: int
    requests_per_s: int
    requires: Grant | None
    steps: tuple[Step, ...]
    calls: int = 0

    code = Code.OK

    @property
    def cost(self) -> int:
        """What the lease holds of the grant."""
        return self.units * self.unit_price if self.unit_price else self.units

    @property
    def max_amount(self) -> int:
        """What the units may cost at most, in smallest currency units; 0 for included ones."""
        return self.units * self.unit_price


@dataclass(frozen=True, slots=True)
class Refusal:
    """No lease, and why."""

    code: Code
    steps: tuple[Step, ...]
    retry_after_ms: int = 0

    @property
    def message(self) -> str:
        """What is wrong, in a sentence."""
        return MESSAGES[self.code]

    @property
    def remedy(self) -> str:
        """What the caller can do."""
        return REMEDIES[self.code]


Decision = Approval | Refusal


@dataclass(frozen=True, slots=True)
class _Offer:
    """A right that could be lent: how many units of calls it has free, at which price each."""

    grant: Grant
    plan: Plan
    free_units: int
    unit_price: int
    until: int
    requires: Grant | None = None
    calls_left: int = 0


def decide(ask: Ask, scene: Scene, policy: Policy) -> Decision:
    """The decision, with every step that led to it. Lends nothing itself."""
    gate = _gate(ask, scene, policy)
    if gate is not None:
        return Refusal(gate.code, (gate,), policy.retry_after_ms if gate.code is Code.MIRROR_STALE else 0)
    steps: list[Step] = []
    rights = (
        _rights(scene, policy) if scene.spending is None else _mandate_offers(scene, scene.spending, policy)
    )
    for found in rights:
        if isinstance(found, Step):
            steps.append(found)
            continue
        units = lease_size(ask, found.free_units, scene.workers)
        if units == 0:
            steps.append(
                Step(found.grant.grant_id, Code.QUOTA_EXHAUSTED, f"{found.free_units} units are free")
            )
            continue
        steps.append(Step(found.grant.grant_id, Code.OK, f"{units} of {found.free_units} free units"))
        return _approve(found, units, scene, policy, tuple(steps))
    return _refuse(scene, policy, steps)


def lease_size(ask: Ask, free: int, workers: int) -> int:
    """Units to lend of `free` ones; 0 when the waiting call does not fit.

    A worker gets what it wants up to an equal share of what is free, but never less than the call that waits needs:
    near the end of a quota leases shrink to single calls instead of starving anyone.
    """
    minimum = max(1, ask.minimum)
    if free < minimum:
        return 0
    share = free // max(1, workers)
    return max(minimum, min(ask.wanted, share))


def share(limit: int, workers: int) -> int:
    """What one of so many workers may do of a limit, at least one; 0 where there is no limit."""
    return max(1, limit // max(1, workers)) if limit else 0


def _gate(ask: Ask, scene: Scene, policy: Policy) -> Step | None:
    if scene.account_id is None:
        return Step("credential", Code.CREDENTIAL_INVALID)
    asset = scene.asset
    if asset is None:
        return Step("asset", Code.MODEL_UNKNOWN)
    mirror = scene.mirror
    if mirror is None or scene.now - mirror.heard_at > policy.mirror_silence_s:
        return Step("mirror", Code.MIRROR_STALE, "the indexer is silent")
    if ask.min_block > max(asset.last_block, mirror.final_block):
        return Step("mirror", Code.MIRROR_STALE, f"block {ask.min_block} is not known yet")
    if asset.version_digest is None:
        return Step("asset", Code.MODEL_NOT_READY)
    return None


def _running(scene: Scene, policy: Policy) -> Iterator[Step | tuple[Grant, Plan]]:
    """The licenses that the account may use, in their order, with their plans; why not, for the others."""
    plans = scene.plans or {}
    for grant in sorted(scene.licenses, key=lambda grant: _turn(grant, scene.now)):
        plan = plans.get(grant.plan_key)
        step = _look(grant, plan, scene.now, policy) or _look_at_user(grant, scene)
        if step is not None or plan is None:
            yield step or Step(grant.grant_id, Code.LICENSE_MISSING, "its plan is not on the chain any more")
            continue
        yield grant, plan


def _rights(scene: Scene, policy: Policy) -> Iterator[Step | _Offer]:
    running: list[tuple[Grant, Plan]] = []
    for found in _running(scene, policy):
        if isinstance(found, Step):
            yield found
            continue
        grant, plan = found
        running.append(found)
        if grant.state is GrantState.PROVISIONAL and grant.payer in scene.indebted:
            yield Step(grant.grant_id, Code.QUOTA_EXHAUSTED, "not final, and earlier use is uncovered")
            continue
        yield _Offer(grant, plan, grant.balance.free, 0, grant.ends_for_user(scene.now))
    yield from _credit_offers(scene, policy)
    yield from _deposit_offers(scene, running)


def _turn(grant: Grant, now: float) -> tuple[bool, int, str]:
    """The order of licenses: own before delegated, what ends first before the others."""
    return grant.is_delegated(now), grant.ends_for_user(now), grant.grant_id


def _look_at_user(grant: Grant, scene: Scene) -> Step | None:
    """Why this account cannot use a license that runs; None when it can."""
    if grant.user_at(scene.now) in scene.wallets:
        return None
    if grant.is_delegated(scene.now):
        detail = f"{grant.user} uses it until {grant.user_until}"
        return Step(grant.grant_id, Code.LICENSE_DELEGATED, detail)
    return Step(grant.grant_id, Code.DELEGATION_ENDED, f"{grant.wallet} holds it")


def _look(grant: Grant, plan: Plan | None, now: float, policy: Policy) -> Step | None:
    """Why this license cannot be used; None when it can."""
    if grant.quarantined:
        return Step(grant.grant_id, Code.MIRROR_STALE, "an event of this right could not be applied")
    if grant.state is GrantState.RETRACTED:
        return Step(grant.grant_id, Code.LICENSE_REVOKED, "its purchase left the chain")
    if grant.state is GrantState.REVOKED:
        return Step(grant.grant_id, Code.LICENSE_REVOKED, "it was revoked for a breach")
    if grant.state is GrantState.TRANSFERRED:
        return Step(grant.grant_id, Code.LICENSE_TRANSFERRED, "its plan forbids the transfer that was made")
    if not grant.is_running(now):
        return Step(grant.grant_id, Code.LICENSE_EXPIRED, f"it ended at {grant.end_time}")
    if plan is not None and plan.server != policy.operator:
        return Step(grant.grant_id, Code.LICENSE_MISSING, f"its plan is served by {plan.server}")
    return None


def _credit_offers(scene: Scene, policy: Policy) -> Iterator[Step | _Offer]:
    """Prepaid units in the escrow, soonest end first. They need no license: their series is of a plan."""
    plans = scene.plans or {}
    for grant in sorted(scene.credits, key=lambda grant: (grant.end_time, grant.grant_id)):
        plan = plans.get(grant.plan_key)
        step = _look_at_credits(grant, plan, scene.now, policy)
        if step is not None or plan is None:
            yield step or Step(grant.grant_id, Code.LICENSE_MISSING, "its plan is not on the chain any more")
            continue
        # What is not final is not lent: units that a reorganisation takes away could be used again.
        free = max(0, min(grant.balance.free, grant.floor - grant.balance.committed))
        yield _Offer(grant, plan, free, 1, grant.end_time)


def _look_at_credits(grant: Grant, plan: Plan | None, now: float, policy: Policy) -> Step | None:
    """Why these units cannot be used; None when they can."""
    if grant.quarantined:
        return Step(grant.grant_id, Code.MIRROR_STALE, "an event of this deposit could not be applied")
    if not grant.is_running(now):
        return Step(grant.grant_id, Code.QUOTA_EXHAUSTED, f"its units ended at {grant.end_time}")
    if grant.mandates_only:
        return Step(grant.grant_id, Code.QUOTA_EXHAUSTED, "its payer lets it be drawn from by mandates alone")
    if plan is not None and plan.server != policy.operator:
        return Step(grant.grant_id, Code.LICENSE_MISSING, f"its plan is served by {plan.server}")
    return None


def _deposit_offers(scene: Scene, running: list[tuple[Grant, Plan]]) -> Iterator[Step | _Offer]:
    """Each license's price in turn, in the order of the licenses: a dear plan does not refuse what a cheaper covers."""
    usable: list[Grant] = []
    for grant in sorted(scene.deposits, key=lambda grant: grant.grant_id):
        if grant.quarantined:
            yield Step(grant.grant_id, Code.MIRROR_STALE, "an event of this deposit could not be applied")
        elif grant.mandates_only:
            yield Step(
                grant.grant_id, Code.QUOTA_EXHAUSTED, "its payer lets it be drawn from by mandates alone"
            )
        else:
            usable.append(grant)
    for required, plan in running:
        for grant in usable:
            if not _pays(grant, required, plan):
                continue
            free = _free_amount(grant, plan, scene.indebted) // plan.unit_price
            yield _Offer(grant, plan, free, plan.unit_price, required.ends_for_user(scene.now), required)


def _mandate_offers(scene: Scene, spending: Spending, policy: Policy) -> Iterator[Step | _Offer]:
    """What a mandate lets be drawn, at the price of a license of its payer for this asset. Nothing else is tried."""
    window, deposit = spending.window, spending.deposit
    refused = _look_at_mandate(scene, spending, policy)
    if refused is not None or window is None or deposit is None:
        yield refused or Step(spending.mandate.key, Code.MIRROR_STALE, "its deposit is not known yet")
        return
    for found in _running(scene, policy):
        if isinstance(found, Step):
            yield found
            continue
        required, plan = found
        if not _pays(deposit, required, plan):
            continue
        free = min(window.balance.free, _free_amount(deposit, plan, scene.indebted)) // plan.unit_price
        until = min(required.ends_for_user(scene.now), window.end_time)
        # Without a call left nothing is lent, whatever amount is.
        units = free if spending.calls_left else 0
        yield _Offer(window, plan, units, plan.unit_price, until, required, spending.calls_left)


def _look_at_mandate(scene: Scene, spending: Spending, policy: Policy) -> Step | None:
    """Why nothing can be drawn by this mandate for this asset; None when something may be."""
    mandate, window, deposit = spending.mandate, spending.window, spending.deposit
    looks = (
        (not mandate.stands, Code.MANDATE_ENDED, "it was revoked, or its opening left the chain"),
        (not mandate.is_final, Code.MIRROR_STALE, "its opening is not final yet"),
        (
            not mandate.runs(scene.now),
            Code.MANDATE_ENDED,
            f"it runs from {mandate.valid_from} to {mandate.valid_until}",
        ),
        (mandate.operator != policy.operator, Code.LICENSE_MISSING, f"it is for {mandate.operator}"),
        (
            scene.asset is None or not mandate.covers(scene.asset.asset_id),
            Code.LICENSE_MISSING,
            "it does not cover this model",
        ),
        (
            any(grant is not None and grant.quarantined for grant in (window, deposit)),
            Code.MIRROR_STALE,
            "an event of its deposit could not be applied",
        ),
    )
    return next((Step(mandate.key, code, detail) for refuses, code, detail in looks if refuses), None)


def _pays(deposit: Grant, license_grant: Grant, plan: Plan) -> bool:
    return (
        plan.unit_price > 0
        and deposit.chain_id == license_grant.chain_id
        and deposit.operator == plan.server
        and deposit.currency == plan.currency
    )


def _free_amount(deposit: Grant, plan: Plan, indebted: frozenset[str]) -> int:
    """Free amount under this plan's optimistic limit: beyond the floor, no more than the plan lends in good faith."""
    optimistic = 0 if deposit.payer in indebted else plan.optimistic_amount
    ceiling = deposit.floor + optimistic - deposit.balance.committed
    return max(0, min(deposit.balance.free, ceiling))


def _approve(offer: _Offer, units: int, scene: Scene, policy: Policy, steps: tuple[Step, ...]) -> Approval:
    ttl_s = min(policy.ttl_s, offer.until - scene.now)
    return Approval(
        grant=offer.grant,
        plan=offer.plan,
        units=units,
        unit_price=offer.unit_price,
        ttl_ms=max(1, int(ttl_s * 1000)),
        requests_per_s=max(1, offer.plan.requests_per_s // max(1, scene.workers)),
        requires=offer.requires,
        steps=steps,
        calls=min(units, share(offer.calls_left, scene.workers)),
    )


# What a caller is told when several rights were refused: the one that is closest to being usable.
_SEVERITY = (
    Code.QUOTA_EXHAUSTED,
    Code.MIRROR_STALE,
    Code.MANDATE_ENDED,
    Code.LICENSE_DELEGATED,
    Code.LICENSE_EXPIRED,
    Code.DELEGATION_ENDED,
    Code.LICENSE_TRANSFERRED,
    Code.LICENSE_REVOKED,
)


def _refuse(scene: Scene, policy: Policy, steps: list[Step]) -> Refusal:
    steps = [*steps, *(Step("history", code) for code in sorted(scene.history))]
    seen = {step.code for step in steps}
    code = next((code for code in _SEVERITY if code in seen), Code.LICENSE_MISSING)
    if not steps:
        steps = [Step("licenses", Code.LICENSE_MISSING)]
    return Refusal(code, tuple(steps), policy.retry_after_ms if _may_pass_soon(code, scene) else 0)


def _may_pass_soon(code: Code, scene: Scene) -> bool:
    """Whether waiting can help: other leases hold units, a purchase waits for finality, or the mirror lags."""
    if code is Code.MIRROR_STALE or (code is Code.QUOTA_EXHAUSTED and scene.spending is not None):
        return True  # the mirror catches up; the next window begins
    return code is Code.QUOTA_EXHAUSTED and any(
        _holds_back(g) for g in (*scene.licenses, *scene.credits, *scene.deposits)
    )


def _holds_back(grant: Grant) -> bool:
    return grant.is_standing and (grant.balance.leased > 0 or grant.state is GrantState.PROVISIONAL)


def indebted_payers(payers: Iterable[str], deposits: Iterable[Grant]) -> frozenset[str]:
    """Payers with uncovered use: those with open debts, and those whose deposits are short."""
    short = (grant.payer for grant in deposits if grant.source is Source.DEPOSIT and grant.balance.shortage)
    return frozenset((*payers, *short))
