"""Runs the leadership of one chain for as long as the process lives."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from licet_kit.db import reading, transaction
from licet_kit.lifecycle import Service
from licet_kit.logs import get_logger
from licet_schemas.abi import load_abi
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from licet_indexer import telemetry
from licet_indexer.clients import Node, NodeError
from licet_indexer.db import chains
from licet_indexer.domain.catalogue import WATCHED, Catalogue
from licet_indexer.domain.chain import Chain
from licet_indexer.domain.judge import InconsistentAnswer, Limits
from licet_indexer.follower.follow import Follower, Halted, Pace
from licet_indexer.follower.leader import Seat, seat, stopped
from licet_indexer.settings import IndexerSettings
from licet_indexer.usecases.tracking import Fenced, Moved, lead

log = get_logger(__name__)

# Retries start at once and double up to here: a fault of a moment costs no latency, an outage no load.
FIRST_RETRY_S = 0.02
LAST_RETRY_S = 2.0
# How often the leader says that it is alive. Standbys judge by three of them.
BEAT_S = 1.0
# How often a halted chain asks whether the node agrees again.
HALTED_POLL_S = 2.0


@dataclass(slots=True)
class _Course:
    """How the leadership goes at the moment."""

    failures: int = 0
    halted: str | None = None
    beat_at: float = 0.0

    def retry_s(self) -> float:
        return min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(self.failures, 16))


def follow(engine: AsyncEngine, chain: Chain, settings: IndexerSettings) -> Service:
    """A service that follows a chain whenever this process leads it, and stands by otherwise."""
    catalogue = Catalogue(chain, {name: load_abi(name) for name in WATCHED})
    pace = Pace(settings.max_span, Limits(settings.fork_polls, settings.lag_polls))

    async def run(stop: asyncio.Event) -> None:
        course = _Course()
        while not stop.is_set():
            try:
                async with (
                    seat(engine, chain.chain_id, interval_s=settings.election_interval_s, stop=stop) as taken,
                    Node(chain, timeout_s=settings.rpc_timeout_s) as node,
                ):
                    if taken is None:
                        return
                    async with transaction(engine) as session:
                        track = await lead(session, chain, catalogue)
                    async with reading(engine) as session:
                        cursor = await chains.read_cursor(session, chain.chain_id)
                    course.failures = 0
                    tip = cursor.tip.number if cursor.tip else None
                    log.info("chain.leading", chain_id=chain.chain_id, epoch=track.epoch, tip=tip)
                    follower = Follower(engine, node, track, cursor, pace)
                    await _lead(follower, taken, chain, stop)
            except (Fenced, Moved) as error:
                log.warning("chain.leadership_lost", chain_id=chain.chain_id, reason=str(error))
            except (DBAPIError, OSError, TimeoutError) as error:
                if isinstance(error, IntegrityError | ProgrammingError):
                    raise
                course.failures += 1
                log.warning("chain.database_away", chain_id=chain.chain_id, reason=str(error)[:200])
            telemetry.LEADING.set(0, {telemetry.LABEL_CHAIN: str(chain.chain_id)})
            await stopped(stop, course.retry_s())

    return run


async def _lead(follower: Follower, taken: Seat, chain: Chain, stop: asyncio.Event) -> None:
    course = _Course()
    label = {telemetry.LABEL_CHAIN: str(chain.chain_id)}
    telemetry.LEADING.set(1, label)
    while not stop.is_set():
        more, wait_s = False, chain.poll_interval_s
        try:
            more = await _advance(follower, course, chain)
            course.failures = 0
        except (NodeError, InconsistentAnswer) as error:
            course.failures += 1
            wait_s = course.retry_s()
            telemetry.NODE_ERRORS.add(1, {**label, telemetry.LABEL_REASON: error.code})
            log.info(
                "chain.node_error", chain_id=chain.chain_id, failures=course.failures, reason=str(error)[:200]
            )
        telemetry.HALTED.set(1 if course.halted else 0, label)
        await _beat(follower, taken, course)
        if not more and await stopped(stop, HALTED_POLL_S if course.halted else wait_s):
            return


async def _advance(follower: Follower, course: _Course, chain: Chain) -> bool:
    """One step, or, while halted, one question whether to go on."""
    if course.halted is not None:
        if await follower.agrees():
            log.warning("chain.resumed", chain_id=chain.chain_id)
            course.halted = None
        return course.halted is None
    try:
        return await follower.step()
    except Halted as error:
        course.halted, course.beat_at = str(error), 0.0
        log.error("chain.halted", chain_id=chain.chain_id, reason=course.halted)
        return False


async def _beat(follower: Follower, taken: Seat, course: _Course) -> None:
    """Says in the database that the chain is followed; silence says that the node does not answer."""
    if course.failures > 0 or time.monotonic() < course.beat_at:
        return
    await taken.confirm()
    await follower.heard(course.halted)
    course.beat_at = time.monotonic() + BEAT_S
