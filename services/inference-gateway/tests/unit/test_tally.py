"""What a call costs is never more than was held, never less than nothing, and never more for a part than for all."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licet_gateway.dataplane.clock import SECOND
from licet_gateway.dataplane.tally import Tally
from licet_gateway.domain import Measure

TOKENS = [Measure.INPUT_TOKENS, Measure.OUTPUT_TOKENS]


@dataclass
class Clock:
    now: int = 1000 * SECOND

    def __call__(self) -> int:
        return self.now


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.data())
def test_a_part_costs_its_share_rounded_up(held: int, size: int, data: st.DataObject) -> None:
    tally = Tally(Measure.ROWS, held)
    handed = data.draw(st.integers(1, size))
    due = tally.part(handed, handed, size)
    assert 1 <= due <= held
    assert (due - 1) * size < held * handed <= due * size


@given(
    st.integers(1, 50),
    st.lists(st.tuples(st.integers(1, 9), st.integers(-3, 80)), max_size=12),
    st.lists(st.integers(0, 120), max_size=12),
)
def test_tokens_are_due_as_their_bytes_leave(
    held: int, steps: list[tuple[int, int]], looks: list[int]
) -> None:
    tally, end, marks, most = Tally(Measure.OUTPUT_TOKENS, held), 0, [(0, 0)], 0
    for size, tokens in steps:
        end += size
        most = max(most, min(tokens, held))
        marks.append((end, most))
        tally.mark(end, tokens)
    for offset in sorted(looks):
        expected = [due for at, due in marks if at <= offset][-1]
        assert tally.part(offset, offset, end or 1) == expected
    tally.settle(None)
    assert tally.total == most


@pytest.mark.parametrize("measure", TOKENS)
def test_an_answer_that_tells_no_tokens_costs_none(measure: Measure) -> None:
    tally = Tally(measure, 4096)
    assert (tally.by_now(), tally.part(5, 5, 5)) == (0, 0)
    tally.settle(None)
    assert tally.total == 0


@given(st.integers(0, 100 * SECOND))
def test_begun_seconds_are_counted(elapsed: int) -> None:
    clock = Clock()
    tally = Tally(Measure.SECONDS, 60, clock)
    clock.now += elapsed
    tally.settle(None)
    assert tally.total == min(60, max(1, -(-elapsed // SECOND)))


def test_the_time_in_which_a_client_reads_is_not_the_servers() -> None:
    clock = Clock()
    tally = Tally(Measure.SECONDS, 60, clock)
    clock.now += SECOND // 2
    tally.settle(None)
    clock.now += 40 * SECOND
    assert tally.part(10, 10, 1000) == tally.total == 1


@pytest.mark.parametrize("measure", [Measure.REQUEST, Measure.ROWS, Measure.BYTES])
def test_what_is_known_beforehand_is_due_in_full(measure: Measure) -> None:
    tally = Tally(measure, 7)
    tally.settle(None)
    assert (tally.total, tally.by_now(), tally.part(9, 9, 9)) == (7, 7, 7)
