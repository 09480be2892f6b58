"""When a replica is left out, for how long, and when it is asked again."""

from __future__ import annotations

import pytest
from licet_gateway.dataplane.clock import MS, SECOND
from licet_gateway.dataplane.health import (
    EJECTED_MAX_NS,
    EJECTED_NS,
    FORGIVEN_NS,
    PROBE_MAX_NS,
    PROBE_NS,
    ROW_MAX,
    WINDOW_FAILURES,
    WINDOW_NS,
    Health,
)

BEGIN = 1000 * SECOND


@pytest.fixture
def health() -> Health:
    made = Health(lambda: True)
    made.sweep(BEGIN)
    return made


def fail(health: Health, times: int, now: int = BEGIN, *, late: bool = False) -> None:
    for _ in range(times):
        health.failed(now, late=late)


def succeed(health: Health, times: int = 1) -> None:
    for _ in range(times):
        health.row = 0
        health.good += 1


@pytest.mark.parametrize("late", [False, True])
def test_failures_in_a_row_put_it_out_and_time_brings_it_back(health: Health, *, late: bool) -> None:
    fail(health, ROW_MAX - 1, late=late)
    assert health.usable
    fail(health, 1, late=late)
    usable = []
    for now in (BEGIN, BEGIN + EJECTED_NS - 1, BEGIN + EJECTED_NS):
        health.sweep(now)
        usable.append(health.usable)
    assert usable == [False, False, True]


def test_a_share_of_failures_puts_it_out(health: Health) -> None:
    for _ in range(WINDOW_FAILURES - 1):
        fail(health, 1)
        succeed(health)
    assert health.usable
    fail(health, 1)
    assert not health.usable


def test_a_few_failures_among_many_answers_do_not(health: Health) -> None:
    for _ in range(WINDOW_FAILURES * 2):
        fail(health, 1)
        succeed(health, 2)
    assert health.usable


def test_a_slow_model_beside_a_quick_one_does_not_put_it_out(health: Health) -> None:
    for _ in range(WINDOW_FAILURES * 2):
        fail(health, 1, late=True)
        succeed(health)
    assert health.usable


def test_failures_of_long_ago_are_forgotten(health: Health) -> None:
    for _ in range(WINDOW_FAILURES - 1):
        fail(health, 1)
        succeed(health)
    for turn in (1, 2):
        health.sweep(BEGIN + turn * WINDOW_NS)
    fail(health, 1)
    assert health.usable


def test_each_ejection_is_longer_up_to_a_bound_until_it_behaved(health: Health) -> None:
    now, lasted = BEGIN, []
    fail(health, ROW_MAX - 1, now)
    for _ in range(6):
        # One more failure after it came back is enough.
        fail(health, 1, now)
        assert not health.usable
        lasted.append(health.ejected_until_ns - now)
        now = health.ejected_until_ns
        health.sweep(now)
    assert lasted[:3] == [EJECTED_NS, 2 * EJECTED_NS, 4 * EJECTED_NS]
    assert lasted[-1] == EJECTED_MAX_NS
    succeed(health)
    now += FORGIVEN_NS
    health.sweep(now)
    fail(health, ROW_MAX, now)
    assert health.ejected_until_ns - now == EJECTED_NS


def test_it_stays_where_it_may_not_be_ejected() -> None:
    health = Health(lambda: False)
    fail(health, ROW_MAX * 3)
    assert health.usable


def test_who_takes_no_connection_is_probed_ever_more_rarely(health: Health) -> None:
    now, waits = BEGIN, []
    for _ in range(9):
        health.refused(now)
        assert not health.usable
        before = now
        while not health.probe_due(now):
            now += 10 * MS
        waits.append(now - before)
    assert waits[:3] == [PROBE_NS, 2 * PROBE_NS, 4 * PROBE_NS]
    assert waits[-1] == PROBE_MAX_NS
    health.connected()
    assert health.usable
    assert not health.probe_due(now + PROBE_MAX_NS)
