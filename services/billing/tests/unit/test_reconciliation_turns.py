"""A round of runs looks at everything again that agreed when it began, however much joins meanwhile."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from licet_billing.domain.reconciliation import Agreed, Part, Span, Turn, next_turn, nothing_agreed

START = 1000


def agreed_after(turn: Turn, reached: int) -> Agreed:
    """The exact result of a run of this turn."""
    places = dict.fromkeys(Part, reached) | {Part.BLOCKS: START + reached}
    return Agreed("0x", places, turn.number, turn.round_ends)


@given(
    runs=st.integers(1, 40), reached=st.integers(0, 500), growth=st.lists(st.integers(0, 300), min_size=40)
)
def test_a_round_covers_each_place_once(runs: int, reached: int, growth: list[int]) -> None:
    turn = next_turn(nothing_agreed(START), START, runs)
    assert all(span.after == span.through for span in turn.spans.values())
    seen: dict[Part, list[int]] = {part: [] for part in Part}
    now = reached
    for more in growth[:runs]:
        turn = next_turn(agreed_after(turn, now), START, runs)
        now += more
        for part, span in turn.spans.items():
            seen[part] += range(span.after + 1, span.through + 1)
    assert turn.number == runs - 1
    whole = list(range(1, reached + 1))
    first = START - 1
    assert seen.pop(Part.BLOCKS) == list(range(first + 1, START + reached + 1))
    assert all(places == whole for places in seen.values())


def test_a_difference_keeps_the_turn_where_it_is() -> None:
    last_exact = agreed_after(next_turn(nothing_agreed(START), START, 3), 90)
    assert next_turn(last_exact, START, 3) == next_turn(last_exact, START, 3)
    assert next_turn(last_exact, START, 3).spans[Part.CHARGES] == Span(0, 30)
