"""When a mirror is fit to be read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from licet_indexer.db.chains import ChainStatus
from licet_indexer.domain.chain import BlockRef, ChainId, ChainState, Cursor
from licet_indexer.follower.health import NotFollowing, judge_status

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def status(
    *, tip: int = 10, node_head: int | None = 10, silent_s: float = 1, reason: str | None = None
) -> ChainStatus:
    cursor = Cursor(ChainId(1), BlockRef(tip, "0x", 0), None, 1)
    state = ChainState.HALTED if reason else ChainState.FOLLOWING
    return ChainStatus(cursor, "unit", state, reason, node_head, NOW - timedelta(seconds=silent_s))


def test_followed_chain_at_its_head_is_ready() -> None:
    judge_status(status(), 5, NOW)
    judge_status(status(tip=5), 5, NOW)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, "no replica has reached"),
        (status(node_head=None), "no replica has reached"),
        (status(reason="block 3 is final"), "halted: block 3 is final"),
        (status(silent_s=60), "no answer from the node for 60 s"),
        (status(tip=4), "6 blocks behind"),
    ],
)
def test_mirror_that_is_not_kept_up_says_why(found: ChainStatus | None, reason: str) -> None:
    with pytest.raises(NotFollowing, match=reason):
        judge_status(found, 5, NOW)
