"""Who is served next, who waits too long, and who is told so at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licet_gateway.dataplane.clock import MS, SECOND
from licet_gateway.dataplane.queueing import FairQueue

BEGIN = 1000 * SECOND


@pytest.fixture
def queue() -> FairQueue[str]:
    return FairQueue(wait_ns=2 * SECOND, length=1000, per_caller=500)


def test_a_caller_with_many_waiting_calls_is_served_in_turn_with_others(queue: FairQueue[str]) -> None:
    for number in range(400):
        assert queue.add(f"greedy-{number}", "greedy", BEGIN)
    assert queue.add("modest-0", "modest", BEGIN)
    assert queue.add("other-0", "other", BEGIN)
    served = [queue.pop(BEGIN) for _ in range(4)]
    assert served == ["greedy-0", "modest-0", "other-0", "greedy-1"]


def test_one_caller_cannot_fill_the_queue(queue: FairQueue[str]) -> None:
    taken = [queue.add(f"greedy-{number}", "greedy", BEGIN) for number in range(600)]
    assert taken.count(True) == 500
    assert queue.add("modest-0", "modest", BEGIN)


def test_the_queue_is_bounded_over_all_callers(queue: FairQueue[str]) -> None:
    taken = [queue.add(f"{number}", f"caller-{number}", BEGIN) for number in range(1200)]
    assert taken.count(True) == len(queue) == 1000


def test_who_waits_too_long_is_taken_out(queue: FairQueue[str]) -> None:
    queue.add("early", "a", BEGIN)
    queue.add("late", "a", BEGIN + SECOND)
    queue.add("other", "b", BEGIN + SECOND)
    assert queue.take_expired(BEGIN + 2 * SECOND - 1) == []
    assert queue.take_expired(BEGIN + 2 * SECOND) == ["early"]
    assert [queue.pop(BEGIN), queue.pop(BEGIN)] == ["late", "other"]


def serve(queue: FairQueue[str], count: int, every_ns: int, now: int) -> int:
    """Lets `count` calls have their turn, and keeps one waiting; the time afterwards."""
    queue.add("first", "steady", now)
    for number in range(count):
        queue.add(f"steady-{now}-{number}", "steady", now)
        queue.pop(now)
        now += every_ns
    return now


def test_who_would_wait_too_long_is_told_at_once(queue: FairQueue[str]) -> None:
    now = serve(queue, 50, 100 * MS, BEGIN)
    taken = [queue.add(f"greedy-{number}", "greedy", now) for number in range(100)]
    # Twenty turns of 100 ms fit into two seconds.
    assert 15 <= taken.count(True) <= 25
    assert taken == sorted(taken, reverse=True)
    assert queue.add("modest-0", "modest", now)


def test_what_an_earlier_rush_measured_is_forgotten(queue: FairQueue[str]) -> None:
    now = serve(queue, 50, SECOND, BEGIN)
    while len(queue):
        queue.pop(now)
    later = now + 3 * SECOND
    assert all(queue.add(f"{number}", "a", later) for number in range(20))


@given(st.lists(st.integers(-2, 3), max_size=80))
def test_nobody_is_passed_by_more_than_once_by_each_other_caller(steps: list[int]) -> None:
    """Whatever comes (a caller's number) and is served (below zero): each keeps its order, and has no two turns while
    another waits."""
    queue: FairQueue[tuple[int, int]] = FairQueue(wait_ns=SECOND, length=1000, per_caller=1000)
    waiting: list[tuple[int, int]] = []
    # By caller that waits: who was served since its last turn.
    passed: dict[int, list[int]] = {}
    for number, caller in enumerate(steps):
        if caller >= 0:
            assert queue.add((caller, number), str(caller), BEGIN)
            waiting.append((caller, number))
            passed.setdefault(caller, [])
        elif waiting:
            served = queue.pop(BEGIN)
            assert served == next(w for w in waiting if w[0] == served[0])
            waiting.remove(served)
            del passed[served[0]]
            for since in passed.values():
                assert served[0] not in since
                since.append(served[0])
            passed.update({c: [] for c, _ in waiting if c == served[0]})


def test_who_leaves_gives_its_place_to_others(queue: FairQueue[str]) -> None:
    for name in ("a-0", "a-1", "b-0"):
        queue.add(name, name[0], BEGIN)
    queue.remove("a-0")
    queue.remove("b-0")
    queue.remove("b-0")
    assert (len(queue), queue.pop(BEGIN), len(queue)) == (1, "a-1", 0)


def test_a_few_slow_turns_send_nobody_away(queue: FairQueue[str]) -> None:
    """Connections that are being made look slow for a few turns."""
    for number in range(300):
        queue.add(f"{number}", "a", BEGIN)
    for turn in range(8):
        queue.pop(BEGIN + turn * 20 * MS)
    assert queue.add("another", "a", BEGIN + 160 * MS)
    queue.pop(BEGIN + 160 * MS)
    assert not queue.add("one too late", "a", BEGIN + 160 * MS)
