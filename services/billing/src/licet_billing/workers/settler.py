"""Drives batches onto one chain. Each look stores what follows from the chain and the database, never from memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from licet_kit.clock import Clock
from licet_kit.db import reading, transaction
from licet_kit.lifecycle import wait_or_stop
from licet_kit.logs import get_logger
from sqlalchemy.ext.asyncio import AsyncEngine

from licet_billing import telemetry
from licet_billing.clients.escrow import EscrowClient, Look, SettlementRefused, SettlementTooLarge
from licet_billing.clients.node import Node, hex32
from licet_billing.db.settlement import Sender
from licet_billing.domain.errors import BatchesLost
from licet_billing.domain.settlement import (
    Attempt,
    AttemptState,
    Batch,
    BatchKey,
    BatchState,
    Broadcast,
    Cap,
    Conflict,
    Settled,
    Sighting,
    Sign,
    Step,
    Stuck,
    Timing,
    Wait,
    is_on_chain,
    is_unexplained,
    next_step,
)
from licet_billing.usecases import batches, sending
from licet_billing.workers.answerer import Answerer
from licet_billing.workers.leader import Leadership, leadership
from licet_billing.workers.passing import SUSPECTS, passes

log = get_logger(__name__)

# How often a replica that does not lead asks whether it may.
STANDBY_S: Final = 1.0
# Looks at a batch that is on chain, nobody knows where, before it is said: a node may lag behind another for some.
UNEXPLAINED_LOOKS: Final = 5
_WAS_INCLUDED: Final = frozenset({BatchState.INCLUDED, BatchState.FINAL})


@dataclass(frozen=True, slots=True)
class Pace:
    """`interval_s` between batches, `poll_s` between looks, charges of one batch, and how long attempts wait."""

    interval_s: float
    poll_s: float
    batch_charges: int
    timing: Timing


class Settler:
    """Composes and sends the batches of one operator on one chain."""

    def __init__(
        self, *, engine: AsyncEngine, node: Node, escrow: EscrowClient, clock: Clock, pace: Pace
    ) -> None:
        self._engine = engine
        self._node = node
        self._escrow = escrow
        self._clock = clock
        self._pace = pace
        self._answerer = Answerer(
            engine=engine, escrow=escrow, clock=clock, resend_after_s=pace.timing.resend_after_s
        )
        self._prepared_at = float("-inf")
        self._unexplained: Counter[BatchKey] = Counter()
        self._stuck: tuple[Stuck, ...] = ()

    @property
    def stuck(self) -> Sequence[Stuck]:
        """Charges that waited for a higher cap when this replica last composed, the oldest of each currency."""
        return self._stuck

    async def run(self, stop: asyncio.Event) -> None:
        """Leads when no other replica does, until stopped."""
        name = f"settler:{self._node.chain.chain_id}:{self._escrow.operator}"
        while not stop.is_set():
            try:
                async with leadership(self._engine, name) as leading:
                    if leading is not None:
                        await self._lead(leading, stop)
            except BatchesLost as error:
                _needs_a_person(error.code)
                log.error("settler.stopped", chain_id=self._node.chain.chain_id, error=str(error))
            except SUSPECTS as error:
                if not passes(error):
                    raise
                log.warning("settler.interrupted", chain_id=self._node.chain.chain_id, error=str(error))
            await wait_or_stop(stop, STANDBY_S)

    async def _lead(self, leading: Leadership, stop: asyncio.Event) -> None:
        sender = await self.open_epoch()
        log.info("settler.leading", chain_id=sender.chain_id, operator=sender.operator, epoch=sender.epoch)
        while not stop.is_set():
            await leading.check()
            await self.tick(sender)
            await wait_or_stop(stop, self._pace.poll_s)

    async def open_epoch(self) -> Sender:
        """Fences every earlier sender of this key."""
        async with transaction(self._engine) as session:
            return await sending.open_epoch(session, self._node.chain.chain_id, self._escrow.operator)

    async def tick(self, sender: Sender) -> None:
        """One look: drives what is on its way, and prepares the next batch when it is time."""
        look = await self._escrow.look(await self._node.final_block())
        async with transaction(self._engine) as session:
            await sending.reopen_lost(session, sender, look.last_batch)
            on_the_way = await sending.unfinished(session, sender)
        nonce = await self._drive(sender, on_the_way, look)
        if nonce == look.next_nonce:
            await self._answerer.tick(nonce)
        if self._clock.monotonic() - self._prepared_at >= self._pace.interval_s:
            await self.prepare()

    async def prepare(self) -> BatchKey | None:
        """Composes the next batch of the charges that are open, on whichever replica; None where it has to wait.

        Raises BatchesLost where the chain is ahead of this database.
        """
        self._prepared_at = self._clock.monotonic()
        chain_id, operator = self._node.chain.chain_id, self._escrow.operator
        async with reading(self._engine) as session:
            tokens = await batches.open_currencies(session, chain_id, operator)
        if not tokens:
            self._stuck = ()
            return None
        look = await self._escrow.look(0)
        caps = await self._escrow.caps(tokens)
        await self._see_stuck(caps)
        async with transaction(self._engine) as session:
            return await batches.prepare(
                session,
                chain_id=chain_id,
                operator=operator,
                escrow=self._escrow.address,
                caps={token: cap.left for token, cap in caps.items()},
                last_on_chain=look.last_batch,
                limit=self._pace.batch_charges,
            )

    async def _see_stuck(self, caps: Mapping[str, Cap]) -> None:
        """Notes what waits for a higher cap. Where there is none at all, anybody's token may wait: that is no alarm."""
        chain_id, operator = self._node.chain.chain_id, self._escrow.operator
        async with reading(self._engine) as session:
            found = tuple(await batches.stuck(session, chain_id, operator, caps))
        for each in found:
            if each.cap:
                _needs_a_person("above_cap")
            if each.cap and each not in self._stuck:
                log.error("settler.above_cap", **asdict(each))
        self._stuck = found

    async def _drive(self, sender: Sender, on_the_way: list[Batch], look: Look) -> int | None:
        """Takes each batch one step. A batch that is not on chain takes the next nonce after the one before it.

        Returns the nonce that none of them needs; None where a person must look first.
        """
        nonce = look.next_nonce
        for batch in on_the_way:
            seen = await self._see(batch, look)
            step = next_step(batch, seen, nonce, self._pace.timing)
            if isinstance(step, Conflict):
                await self._stop_at(batch, step)
                return None
            # The contract takes batch n + 1 only after n, so a later one cannot even be estimated yet.
            if nonce == look.next_nonce or not isinstance(step, Sign):
                await self._take(sender, batch, step)
            nonce += 0 if is_on_chain(batch, seen) else 1
        return nonce

    async def _see(self, batch: Batch, look: Look) -> Sighting:
        """What the chain says of a batch; what settled it is found by its log where no receipt tells."""
        seen = await self._escrow.sighting(batch, look, self._clock.now().timestamp())
        if is_unexplained(batch, seen):
            async with reading(self._engine) as session:
                earliest = await sending.earliest_block(session, batch.key)
            first = max(earliest, self._node.chain.start_block)
            found = await self._escrow.find_settled(batch.key.number, first, look.block_number)
            seen = replace(seen, inclusions={**seen.inclusions, **found})
        if is_unexplained(batch, seen):
            await self._wonder(batch)
        else:
            self._unexplained.pop(batch.key, None)
        return seen

    async def _wonder(self, batch: Batch) -> None:
        self._unexplained[batch.key] += 1
        if self._unexplained[batch.key] < UNEXPLAINED_LOOKS:
            return
        _needs_a_person("unexplained")
        reason = "the chain holds this batch, and the node knows neither receipt nor log of it"
        log.error("settler.unexplained", batch=batch.key.number, reason=reason)
        async with transaction(self._engine) as session:
            await sending.store_doubt(session, batch.key, reason)

    async def _take(self, sender: Sender, batch: Batch, step: Step) -> None:
        match step:
            case Settled():
                async with transaction(self._engine) as session:
                    await sending.store_settled(session, sender, batch, step)
            case Sign() | Broadcast() if batch.state in _WAS_INCLUDED:
                # Told once; the next look sends it again.
                async with transaction(self._engine) as session:
                    await sending.store_reorged(session, sender, batch)
            case Sign():
                await self._sign(sender, batch, step)
            case Broadcast(attempt):
                await self._broadcast(sender, batch, attempt)
            case Wait():
                pass

    async def _stop_at(self, batch: Batch, conflict: Conflict) -> None:
        _needs_a_person("conflict")
        reason = f"the chain holds root {conflict.root_on_chain} under this number"
        log.error("settler.conflict", batch=batch.key.number, reason=reason)
        async with transaction(self._engine) as session:
            await sending.save_state(session, batch.key, BatchState.CONFLICT, error=reason)

    async def _sign(self, sender: Sender, batch: Batch, step: Sign) -> None:
        """Signs, stores, and only then sends. Where the contract would refuse, says why and sends nothing."""
        async with reading(self._engine) as session:
            settlement = await batches.settlement_of(session, batch.key)
        market = fees = await self._escrow.market_fees()
        if step.replaces is not None:
            raised = step.replaces.replacement_fees(market)
            if raised is None:
                await self._broadcast(sender, batch, step.replaces)
                return
            fees = raised
        try:
            signed = await self._escrow.sign(settlement, step.nonce, fees)
        except SettlementRefused as error:
            log.warning("settler.refused", batch=batch.key.number, reason=error.reason)
            async with transaction(self._engine) as session:
                await sending.store_refusal(session, sender, batch, error.reason)
            return
        except SettlementTooLarge as error:
            await self._halve(batch, str(error))
            return
        now = self._clock.now().timestamp()
        attempt = Attempt(signed.tx_hash, step.nonce, signed.raw, fees, AttemptState.SIGNED, now, 0.0)
        async with transaction(self._engine) as session:
            stored = await sending.store_attempt(session, sender, batch.key, attempt, hex32(settlement.root))
        if stored:
            await self._broadcast(sender, batch, attempt)

    async def _halve(self, batch: Batch, reason: str) -> None:
        """Composes a batch anew that no node would take, with half of its lines."""
        chain_id, operator = self._node.chain.chain_id, self._escrow.operator
        async with reading(self._engine) as session:
            tokens = await batches.open_currencies(session, chain_id, operator)
        caps = await self._escrow.caps(tokens)
        async with transaction(self._engine) as session:
            halved = await batches.halve(
                session,
                batch,
                escrow=self._escrow.address,
                caps={token: cap.left for token, cap in caps.items()},
                limit=self._pace.batch_charges,
            )
            if halved is None:
                await sending.store_doubt(session, batch.key, reason)
        log.warning("settler.too_large", batch=batch.key.number, halved=halved is not None, reason=reason)

    async def _broadcast(self, sender: Sender, batch: Batch, attempt: Attempt) -> None:
        reply = await self._escrow.send(attempt.raw)
        telemetry.BROADCASTS.add(1, {telemetry.LABEL_OUTCOME: str(reply.answer)})
        log.info(
            "settler.broadcast",
            batch=batch.key.number,
            tx_hash=attempt.tx_hash,
            outcome=str(reply.answer),
            error=reply.reason,
        )
        async with transaction(self._engine) as session:
            await sending.store_broadcast(session, sender, batch, attempt, reply, self._clock.now())


def _needs_a_person(reason: str) -> None:
    telemetry.STOPPED.add(1, {telemetry.LABEL_REASON: reason})
