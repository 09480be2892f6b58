"""One engine for backfill and live: look at the node, judge, hand whole blocks to a use case, repeat.

Far behind, a step takes many blocks; at the head it takes the one that came. Nothing else differs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from licet_kit.db import reading, transaction
from licet_kit.errors import RetryableError
from licet_kit.logs import get_logger
from sqlalchemy.ext.asyncio import AsyncEngine

from licet_indexer import telemetry
from licet_indexer.clients import Node
from licet_indexer.db import blocks as blocks_db
from licet_indexer.db import chains
from licet_indexer.domain.chain import Block, BlockRef, Cursor, Log
from licet_indexer.domain.judge import (
    Evidence,
    Extend,
    InconsistentAnswer,
    Limits,
    Look,
    RollBack,
    Wait,
    final_of,
    judge,
)
from licet_indexer.follower.fetch import complete
from licet_indexer.usecases.extend import Extended, extend
from licet_indexer.usecases.finality import Claim, advance_finality
from licet_indexer.usecases.retract import retract
from licet_indexer.usecases.tracking import Track

log = get_logger(__name__)

# Blocks compared a request while looking for the common ancestor, and taken back a transaction.
RETRACT_AT_ONCE = 64


class Halted(RetryableError):
    """The node serves another chain, or a chain without our final block. Processing stops until it agrees again."""

    code = "halted"


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is asked at once, and how much evidence a rollback needs."""

    max_span: int
    limits: Limits


@dataclass(frozen=True, slots=True)
class Fetched:
    """Blocks that follow a tip, with the view they came from."""

    tip: BlockRef | None
    look: Look
    blocks: tuple[Block, ...]


class Follower:
    """Follows one chain as its leader. `step` does one bounded piece of work."""

    def __init__(self, engine: AsyncEngine, node: Node, track: Track, cursor: Cursor, pace: Pace) -> None:
        self._engine = engine
        self._node = node
        self._track = track
        self._pace = pace
        self._label = {telemetry.LABEL_CHAIN: str(track.chain.chain_id)}
        self._evidence = Evidence()
        self._span = 1
        self._is_this_chain = False
        self.tip = cursor.tip
        self.final = cursor.final
        self.node_head: int | None = None

    async def step(self) -> bool:
        """Looks once and acts on it; whether there is more to do at once.

        Raises NodeError or InconsistentAnswer where the node gave nothing usable: nothing was changed, ask again.
        Raises Halted where the node's chain cannot be the one that the mirror holds.
        """
        try:
            if not self._is_this_chain:
                await self._check_chain()
            look = await self._look()
            verdict = await self._judge(look)
            if isinstance(verdict, Extend):
                blocks = await complete(self._node, verdict.headers, self._track.catalogue.addresses)
        except RetryableError:
            self._span = max(1, self._span // 2)
            raise
        self.node_head = look.head.number
        match verdict:
            case Extend():
                self._evidence = Evidence()
                return await self._extend(Fetched(self.tip, look, blocks))
            case Wait(evidence):
                self._evidence = evidence
                return False
            case RollBack():
                self._evidence = Evidence()
                await self._roll_back(look)
                return True

    async def _look(self) -> Look:
        first = self._track.chain.start_block if self.tip is None else self.tip.number + 1
        behind = (self.node_head - first + 1) if self.node_head is not None else 1
        return await self._node.look(self.tip, first, max(1, min(self._span, behind)))

    async def _judge(self, look: Look) -> Extend | Wait | RollBack:
        ours = False
        if self.tip is not None and look.head.number < self.tip.number:
            chain_id = self._track.chain.chain_id
            async with reading(self._engine) as session:
                held = await blocks_db.hashes_at(session, chain_id, [look.head.number])
            ours = held.get(look.head.number) == look.head.hash
        return judge(self.tip, look, self._evidence, self._pace.limits, head_is_ours=ours)

    async def _extend(self, fetched: Fetched) -> bool:
        claim = final_of(fetched.look, self._track.chain.finality)
        if not fetched.blocks:
            await self._advance_finality(claim)
            self._measure()
            return False
        started = time.monotonic()
        attributes = {
            "chain_id": self._track.chain.chain_id,
            "first_block": fetched.blocks[0].header.number,
            "last_block": fetched.blocks[-1].header.number,
        }
        with telemetry.TRACER.start_as_current_span(telemetry.SPAN_EXTEND, attributes=attributes):
            async with transaction(self._engine) as session:
                done = await extend(session, self._track, fetched.tip, fetched.blocks, claim)
        telemetry.APPLY_S.record(time.monotonic() - started, self._label)
        self.tip, self.final = done.tip, done.final
        self._span = min(self._pace.max_span, self._span * 2)
        self._report(fetched.blocks, done)
        self._measure()
        return fetched.look.head.number > done.tip.number

    async def _advance_finality(self, claim: Claim | None) -> None:
        known = self.final.number if self.final else -1
        if self.tip is None or claim is None or min(claim[0], self.tip.number) <= known:
            return
        async with transaction(self._engine) as session:
            self.final = await advance_finality(session, self._track, self.tip, claim)

    async def _roll_back(self, look: Look) -> None:
        ancestor = await self._common_ancestor(look.head.number)
        if self.tip is None:
            return
        depth = self.tip.number - ancestor
        log.warning(
            "chain.reorg",
            chain_id=self._track.chain.chain_id,
            tip=self.tip.number,
            ancestor=ancestor,
            depth=depth,
        )
        telemetry.REORG_DEPTH.record(depth, self._label)
        while self.tip is not None and self.tip.number > ancestor:
            to_number = max(ancestor, self.tip.number - RETRACT_AT_ONCE)
            with telemetry.TRACER.start_as_current_span(telemetry.SPAN_RETRACT):
                async with transaction(self._engine) as session:
                    done = await retract(session, self._track, self.tip, to_number)
            telemetry.RETRACTED.add(done.events, self._label)
            self.tip = done.tip
        self._measure()

    async def _common_ancestor(self, node_head: int) -> int:
        """Height of the highest block that the node and the mirror share; below the start block if none.

        Goes down in bounded steps as far as the mirror has blocks that are not final.
        """
        chain_id, start = self._track.chain.chain_id, self._track.chain.start_block
        await self._check_chain()
        floor = self.final.number if self.final else start
        below = node_head + 1
        while True:
            async with reading(self._engine) as session:
                held = await blocks_db.numbers_below(session, chain_id, below, floor, RETRACT_AT_ONCE)
            theirs = await self._node.hashes_at([number for number, _ in held])
            if None in theirs:
                raise InconsistentAnswer(f"the node lacks blocks below its head {node_head}")
            for (number, ours), other in zip(held, theirs, strict=True):
                if ours == other:
                    return number
            if not held or held[-1][0] <= floor:
                break
            below = held[-1][0]
        if self.final is not None:
            raise Halted(
                f"the node's chain (head {node_head}) lacks block {self.final.number} {self.final.hash}, which is final"
            )
        return start - 1

    async def _check_chain(self) -> None:
        served = await self._node.chain_id()
        if served != self._track.chain.chain_id:
            raise Halted(f"the node serves chain {served}, not {self._track.chain.chain_id}")
        self._is_this_chain = True

    async def agrees(self) -> bool:
        """Whether the node serves this chain and has the mirror's final block."""
        if await self._node.chain_id() != self._track.chain.chain_id:
            return False
        if self.final is None:
            return True
        return (await self._node.hashes_at([self.final.number]))[0] == self.final.hash

    def _report(self, blocks: tuple[Block, ...], done: Extended) -> None:
        telemetry.BLOCKS.add(len(blocks), self._label)
        telemetry.EVENTS.add(done.events, self._label)
        for refused, reason in done.refused:
            self._report_refused(refused, reason)

    def _report_refused(self, refused: Log, reason: str) -> None:
        telemetry.UNKNOWN.add(1, self._label)
        log.warning(
            "chain.unknown_log",
            chain_id=self._track.chain.chain_id,
            block_hash=refused.block_hash,
            log_index=refused.index,
            contract=refused.contract,
            reason=reason,
        )

    def _measure(self) -> None:
        head = self.tip.number if self.tip else self._track.chain.start_block - 1
        telemetry.HEAD.set(head, self._label)
        telemetry.LAG.set(max(0, (self.node_head or 0) - head), self._label)
        if self.final is not None:
            telemetry.FINAL.set(self.final.number, self._label)

    async def heard(self, reason: str | None) -> None:
        """Notes in the database that this leader is at work, or why the chain is halted."""
        async with transaction(self._engine) as session:
            await chains.hear(session, self._track.chain.chain_id, self._track.epoch, self.node_head, reason)
