"""Whether a chain's mirror is fit to be read, as any replica sees it in the database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from licet_kit.db import reading
from licet_kit.errors import RetryableError
from sqlalchemy.ext.asyncio import AsyncEngine

from licet_indexer.db.chains import ChainStatus, statuses
from licet_indexer.domain.chain import ChainId, ChainState

# The leader says each second that it is at work (`service.BEAT_S`); a standby takes over within about two.
SILENCE_S = 10.0


class NotFollowing(RetryableError):
    """The mirror is not being kept up with its chain."""

    code = "mirror_stale"


def following(engine: AsyncEngine, chain_id: ChainId, ready_lag: int) -> Callable[[], Awaitable[None]]:
    """A health check: some replica follows the chain, it is not halted, and it has caught up."""

    async def check() -> None:
        async with reading(engine) as session:
            known = {status.cursor.chain_id: status for status in await statuses(session)}
        judge_status(known.get(chain_id), ready_lag, datetime.now(UTC))

    return check


def judge_status(status: ChainStatus | None, ready_lag: int, now: datetime) -> None:
    """Raises NotFollowing, with the reason, where a chain's mirror is not fit to be read."""
    if status is None or status.heard_at is None or status.node_head is None:
        raise NotFollowing("no replica has reached the node yet")
    if status.state is ChainState.HALTED:
        raise NotFollowing(f"halted: {status.halt_reason}")
    silent_s = (now - status.heard_at).total_seconds()
    if silent_s > SILENCE_S:
        raise NotFollowing(f"no answer from the node for {silent_s:.0f} s")
    head = status.cursor.tip.number if status.cursor.tip else -1
    if status.node_head - head > ready_lag:
        raise NotFollowing(f"{status.node_head - head} blocks behind the node")
