"""The lease book of a worker: every call holds units of a live lease before it starts, and gives back what it did not
spend on every way out. One question to licensing answers all who wait."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Callable, Collection, Iterable
from typing import Final, Protocol

from licet_gateway.dataplane.clock import SECOND, now_ns
from licet_gateway.dataplane.lease import Lease
from licet_gateway.dataplane.pool import QUIET_NS, Ask, Pool, Waiter, Waiting
from licet_gateway.dataplane.refusals import LICENSING_SILENT, NOT_CERTIFIED, TOO_MANY_WAITING, revoked
from licet_gateway.dataplane.revocations import MinimumGenerations
from licet_gateway.dataplane.share import Share
from licet_gateway.domain import CallRecord, Credential, LeaseTerms, Outcome, Refusal, chain_of

# A call waits this long for licensing's answer.
ASK_WAIT_NS: Final = 2 * SECOND
# Calls that wait for units, over all callers; more are shed at once.
WAITING_MAX: Final = 4096
# Callers known at a time; each costs about a kilobyte.
POOLS_MAX: Final = 100_000
# Replies older than a known revocation that are taken for lateness before the call is refused.
STALE_REPLIES_MAX: Final = 3


class Licensing(Protocol):
    """Whom the book asks. Replies come back through `granted` and `denied`, once an ask, or never."""

    def ask(self, ask: Ask) -> None: ...
    def give_back(self, lease_id: str, spent: int, last_sequence: int) -> None: ...


class Journal(Protocol):
    """Where leases and calls are written down before they count."""

    def add_lease(self, lease: Lease) -> None: ...
    def add_open(self, lease: Lease, sequence: int, started_ns: int) -> None: ...
    def add_progress(self, lease: Lease, sequence: int, units: int) -> None: ...
    def add_close(self, lease: Lease, record: CallRecord) -> None: ...


class LeaseBook:
    """All pools of the worker. Not thread-safe: it lives on the data plane's loop. `chains` are those for which the
    operator has certified this replica: what is used on another could never be billed."""

    def __init__(
        self,
        licensing: Licensing,
        journal: Journal,
        *,
        chains: Collection[int],
        idle_ns: int,
        clock: Callable[[], int] = now_ns,
    ) -> None:
        self._licensing = licensing
        self._journal = journal
        self._chains = frozenset(str(chain) for chain in chains)
        self._idle_ns = idle_ns
        self._clock = clock
        self._pools: dict[tuple[Credential, str], Pool] = {}
        self._by_grant: dict[str, set[Lease]] = {}
        # By grant: the keys of an account share what its right allows.
        self._shares: dict[str, Share] = {}
        self._minimums = MinimumGenerations()
        self._next_ref = 1
        self._waiting = 0
        self._closing = False

    def live_leases(self) -> Iterable[Lease]:
        """Every lease that is not ended."""
        return [lease for pool in self._pools.values() for lease in pool.leases]

    def reserve(
        self, credential: Credential, slug: str, units: int, waiter: Waiter
    ) -> Lease | Refusal | None:
        """Units of a live lease, or a refusal; None where `waiter` now waits to be told one of them."""
        now = self._clock()
        pool = self._pools.get((credential, slug))
        if pool is None:
            if len(self._pools) >= POOLS_MAX:
                return TOO_MANY_WAITING
            pool = self._pools[credential, slug] = Pool(credential, slug, now)
        taken = None if pool.waiting else pool.take(units, now)
        if taken is None:
            return self._wait(pool, Waiting(waiter, units, now + ASK_WAIT_NS), now)
        if isinstance(taken, Lease) and (taken.available < pool.low_water or now >= taken.refresh_ns):
            self._refill(pool, now)
        return taken

    def stop_waiting(self, credential: Credential, slug: str, waiter: Waiter) -> None:
        """The call is gone; what licensing lends for it is left to others."""
        pool = self._pools.get((credential, slug))
        for waiting in pool.waiting if pool is not None else ():
            if pool is not None and waiting.waiter is waiter:
                pool.waiting.remove(waiting)
                self._waiting -= 1
                return

    def begin(self, lease: Lease, started_ns: int) -> int | None:
        """Writes the open entry of a call that holds units; its sequence, or None where the lease died meanwhile."""
        if not lease.alive(self._clock()):
            return None
        lease.sequence += 1
        lease.running[lease.sequence] = started_ns
        self._journal.add_open(lease, lease.sequence, started_ns)
        return lease.sequence

    def release(self, lease: Lease, units: int) -> None:
        """Gives held units back for a call that never began."""
        self._let_go(lease, units, spent=0)
        self._end_if_done(lease)

    def progress(self, lease: Lease, sequence: int, units: int) -> None:
        """Writes down what a running call costs by now: what it costs if this process dies."""
        lease.progress[sequence] = units
        self._journal.add_progress(lease, sequence, units)

    def finish(self, lease: Lease, held: int, record: CallRecord) -> None:
        """Writes the close entry of a call, and ends the lease if this was its last one."""
        del lease.running[record.sequence]
        if lease.progress:
            lease.progress.pop(record.sequence, None)
        self._let_go(lease, held, spent=record.units)
        if lease.retired and not lease.holders and record.sequence == lease.sequence:
            lease.ended = True
            record = dataclasses.replace(record, last=True)
        self._journal.add_close(lease, record)
        self._end_if_done(lease)

    def granted(self, ask: Ask, terms: LeaseTerms) -> None:
        """Licensing's answer, however late. What a known revocation overtook is never used."""
        if chain_of(terms.grant_id) not in self._chains:
            self._licensing.give_back(terms.lease_id, 0, 0)
            self.denied(ask, NOT_CERTIFIED)
            return
        now = self._clock()
        pool = self._answered(ask, now)
        code = self._minimums.refusal_code(terms)
        lease = (
            self._renewed(ask.renewed, ask, terms)
            if ask.renewed is not None
            else self._lent(pool, ask, terms)
        )
        if code is not None:
            self._kill(lease, code)
            self._answer_stale(pool, code, now)
            return
        pool.stale_replies = 0
        if self._closing or not lease.usable(now):
            self._retire(lease)
        self._serve(pool, now, answered=ask)

    def denied(self, ask: Ask, refusal: Refusal) -> None:
        """Licensing's refusal: of everyone who waits, or, for want of quota, of those who need as much."""
        now = self._clock()
        pool = self._answered(ask, now)
        if ask.renewed is not None:
            # The lease is used up as it is; whether there is another right to lease from, only a new ask tells.
            ask.renewed.renewable = False
            if not ask.renewed.available:
                self._retire(ask.renewed)
        else:
            pool.remember_denial(refusal, ask.min_units, now)
            self._refuse_waiting(pool, lambda w: pool.recall_denial(w.units, now))
        self._serve(pool, now, answered=ask)

    def revoke(self, grant_id: str, minimum_generation: int, code: str) -> int:
        """A right fell: its leases of older generations take no further call. The number of leases that died."""
        self._minimums.raise_to(grant_id, minimum_generation, code, self._clock())
        killed = 0
        for lease in list(self._by_grant.get(grant_id, ())):
            if lease.dead_code is None and self._minimums.refusal_code(lease.terms) is not None:
                self._kill(lease, code)
                killed += 1
        return killed

    def sweep(self) -> None:
        """Runs a few times a second: time limits, idle leases, rates, and callers not seen again."""
        now = self._clock()
        self._minimums.forget_old(now)
        for grant_id, share in list(self._shares.items()):
            if share.unused(now) and grant_id not in self._by_grant:
                del self._shares[grant_id]
        for key, pool in list(self._pools.items()):
            pool.measure_rate(now)
            for lease in list(pool.leases):
                idle = not lease.holders and now - lease.idle_since_ns >= self._idle_ns
                if idle or not lease.usable(now):
                    self._retire(lease)
            # An ask that outlived all who waited may still be answered; the next call asks anew.
            if pool.ask is not None and now - pool.ask.asked_ns >= ASK_WAIT_NS:
                pool.ask = None
            self._refuse_waiting(pool, lambda w: LICENSING_SILENT if now >= w.until_ns else None)
            if pool.unused(now):
                del self._pools[key]

    def close(self) -> None:
        """The worker leaves: nothing is lent to it any more, and what it holds goes back as its calls end."""
        self._closing = True
        for lease in self.live_leases():
            self._retire(lease)

    def _wait(self, pool: Pool, waiting: Waiting, now: int) -> Refusal | None:
        refusal = pool.recall_denial(waiting.units, now)
        if refusal is not None:
            return refusal
        if self._closing or self._waiting >= WAITING_MAX:
            return TOO_MANY_WAITING
        pool.waiting.append(waiting)
        self._waiting += 1
        if pool.ask is None:
            self._ask(pool, now, min_units=pool.waiting[0].units)
        return None

    def _refill(self, pool: Pool, now: int) -> None:
        """Asks before it is needed, unless licensing has just said that there is no more."""
        if pool.ask is not None or self._closing or now < pool.quiet_until_ns:
            return
        if pool.runs_low(now) and pool.recall_denial(1, now) is None:
            self._ask(pool, now, min_units=1)

    def _ask(self, pool: Pool, now: int, *, min_units: int, anew: bool = False) -> None:
        pool.ask = Ask(
            request_id=uuid.uuid4().hex,
            credential=pool.credential,
            slug=pool.slug,
            renewed=None if anew else pool.renewable_lease(now),
            units_wanted=max(pool.wanted_units(now), min_units),
            min_units=min_units,
            asked_ns=now,
        )
        self._licensing.ask(pool.ask)

    def _lent(self, pool: Pool, ask: Ask, terms: LeaseTerms) -> Lease:
        share = self._shares.get(terms.grant_id)
        if share is None:
            share = self._shares[terms.grant_id] = Share(self._clock())
        lease = Lease(terms, pool, share, ref=self._next_ref, asked_ns=ask.asked_ns)
        self._next_ref += 1
        self._journal.add_lease(lease)
        pool.leases.append(lease)
        for grant_id, _ in terms.rests_on():
            self._by_grant.setdefault(grant_id, set()).add(lease)
        return lease

    def _renewed(self, lease: Lease, ask: Ask, terms: LeaseTerms) -> Lease:
        # A lease that ended or died meanwhile stays so: its closing record gives back these units too.
        if not lease.retired:
            before = lease.lent
            lease.renew(terms, ask.asked_ns)
            lease.pool.quiet_until_ns = 0 if lease.lent > before else self._clock() + QUIET_NS
        return lease

    def _answered(self, ask: Ask, now: int) -> Pool:
        pool = self._pools.get((ask.credential, ask.slug))
        if pool is None:
            pool = self._pools[ask.credential, ask.slug] = Pool(ask.credential, ask.slug, now)
        if pool.ask is ask:
            pool.ask = None
        return pool

    def _serve(self, pool: Pool, now: int, *, answered: Ask) -> None:
        """Hands units to who waits, in order; asks again, for a lease of its own, where they do not suffice."""
        while pool.waiting:
            taken = pool.take(pool.waiting[0].units, now)
            if taken is None:
                if pool.ask is None and not self._closing:
                    units = pool.waiting[0].units
                    self._ask(pool, now, min_units=units, anew=answered.renewed is not None)
                return
            waiter = pool.waiting.popleft().waiter
            self._waiting -= 1
            if isinstance(taken, Refusal):
                waiter.refused(taken)
            else:
                waiter.leased(taken)

    def _refuse_waiting(self, pool: Pool, why: Callable[[Waiting], Refusal | None]) -> None:
        for waiting in list(pool.waiting):
            refusal = why(waiting)
            if refusal is not None:
                pool.waiting.remove(waiting)
                self._waiting -= 1
                waiting.waiter.refused(refusal)

    def _answer_stale(self, pool: Pool, code: str, now: int) -> None:
        """The reply was overtaken by a revocation: licensing knows better by now, so it is asked again."""
        pool.stale_replies += 1
        if pool.stale_replies < STALE_REPLIES_MAX:
            self._ask_for_waiting(pool, now)
            return
        refusal = revoked(code)
        self._refuse_waiting(pool, lambda _: refusal)

    def _ask_for_waiting(self, pool: Pool, now: int) -> None:
        if pool.waiting and pool.ask is None and not self._closing:
            self._ask(pool, now, min_units=pool.waiting[0].units)

    def _kill(self, lease: Lease, code: str) -> None:
        lease.dead_code = code
        self._retire(lease)

    def _retire(self, lease: Lease) -> None:
        lease.retired = True
        self._end_if_done(lease)

    def _let_go(self, lease: Lease, units: int, *, spent: int) -> None:
        now = self._clock()
        lease.let_go(units, spent=spent, now=now)
        lease.pool.holders -= 1
        if not lease.available and not lease.may_renew(now):
            lease.retired = True

    def _end_if_done(self, lease: Lease) -> None:
        if lease.holders or not lease.retired or lease not in lease.pool.leases:
            return
        if not lease.ended:
            lease.ended = True
            lease.sequence += 1
            self._journal.add_close(lease, marker(lease.sequence, time.time_ns()))
        lease.pool.leases.remove(lease)
        for grant_id, _ in lease.terms.rests_on():
            resting = self._by_grant[grant_id]
            resting.discard(lease)
            if not resting:
                del self._by_grant[grant_id]
        self._licensing.give_back(lease.terms.lease_id, lease.spent, lease.sequence)


def marker(sequence: int, at_ns: int) -> CallRecord:
    """The record that ends a lease whose last call is already recorded, or that had none."""
    return CallRecord(sequence, 0, Outcome.ABORTED, True, at_ns, at_ns)
