"""The place of a leaf follows from its steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licet_schemas import sumtree

ADDRESS = "0x" + "11" * 20


@given(st.integers(1, 40).flatmap(lambda count: st.tuples(st.just(count), st.integers(0, count - 1))))
def test_steps_lead_from_one_place(chosen: tuple[int, int]) -> None:
    count, place = chosen
    leaves = [sumtree.Charge(i.to_bytes(32), 1, ADDRESS, ADDRESS, bytes(32)) for i in range(count)]
    assert sumtree.position(sumtree.build(leaves).proof(place), count) == place


@pytest.mark.parametrize(("sides", "count"), [([], 2), ([], 0), ([True], 1), ([True, True], 3)])
def test_steps_that_lead_from_nowhere_are_refused(sides: list[bool], count: int) -> None:
    with pytest.raises(ValueError, match="lead from none"):
        sumtree.position([sumtree.Step(bytes(32), 0, left=side) for side in sides], count)
