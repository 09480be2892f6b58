"""Renewing a lease: more time, and more units where its right still has free ones."""

from __future__ import annotations

from dataclasses import dataclass

from licet_licensing.domain.codes import Code
from licet_licensing.domain.decisions import Approval, Decision, Refusal
from licet_licensing.domain.grants import Grant, Source
from licet_licensing.domain.leases import MAX_UNITS, Lease, LeaseState
from licet_licensing.domain.scene import Policy, Step


@dataclass(frozen=True, slots=True)
class Standing:
    """A lease with the rights that it stands on, as they are now."""

    lease: Lease
    grant: Grant | None
    required: Grant | None
    required_generation: int | None

    def is_alive(self, worker_id: str, now: float) -> bool:
        """Whether this worker may still use the lease."""
        lease, grant = self.lease, self.grant
        if grant is None or lease.worker_id != worker_id or lease.state is not LeaseState.ACTIVE:
            return False
        alive = now < lease.expires_at and _carries(grant, lease.generation, now) and not grant.mandates_only
        if self.required_generation is None:
            return alive
        return alive and self.required is not None and _carries(self.required, self.required_generation, now)

    def until(self, now: float) -> int:
        """When the right ends that the lease may not outlive (unix seconds)."""
        ends = [carrier.ends_for_user(now) for carrier in (self.required, self.grant) if carrier]
        return min((end for end in ends if end), default=0)  # a deposit does not end


def _carries(grant: Grant, generation: int, now: float) -> bool:
    return grant.generation == generation and grant.is_running(now) and not grant.quarantined


@dataclass(frozen=True, slots=True)
class Renewal:
    """The lease lives on until `expires_at`, with `extra` more units."""

    extra: int
    expires_at: float
    steps: tuple[Step, ...]


def renew(
    standing: Standing | None, decision: Decision, worker_id: str, wanted: int, policy: Policy, now: float
) -> Renewal | Refusal:
    """What becomes of a lease that its worker wants to keep, given the decision that a new lease would get.

    A lease is never renewed past an earlier right: when included units are free again, neither credits nor a deposit
    are drawn on.
    A refusal leaves the lease as it was.
    """
    if isinstance(decision, Refusal) and decision.code is not Code.QUOTA_EXHAUSTED:
        return decision
    if standing is None or not standing.is_alive(worker_id, now):
        return _over(decision, "the lease has ended")
    extra = 0
    if isinstance(decision, Approval):
        if _comes_earlier(decision.grant, standing):
            return _over(decision, "an earlier right has free units")
        if _same_terms(decision, standing.lease):
            extra = min(wanted, decision.units, MAX_UNITS - standing.lease.units)
    expires_at = max(standing.lease.expires_at, min(now + policy.ttl_s, standing.until(now)))
    return Renewal(extra, expires_at, decision.steps)


def _same_terms(offered: Approval, lease: Lease) -> bool:
    """Whether the units offered are those of the lease: one deposit pays for plans of different prices."""
    return (offered.grant.grant_id, offered.plan.plan_key, offered.unit_price) == (
        lease.grant_id,
        lease.plan_key,
        lease.unit_price,
    )


# The order in which rights are used, of those that are tried for one caller.
_TURNS = {Source.LICENSE: 0, Source.CREDITS: 1, Source.DEPOSIT: 2, Source.MANDATE: 2}


def _comes_earlier(offered: Grant, standing: Standing) -> bool:
    return standing.grant is not None and _TURNS[offered.source] < _TURNS[standing.grant.source]


def _over(decision: Decision, why: str) -> Refusal:
    return Refusal(Code.QUOTA_EXHAUSTED, (*decision.steps, Step("lease", Code.QUOTA_EXHAUSTED, why)))
