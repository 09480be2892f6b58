"""When the mirror goes on, waits, or rolls back."""

from __future__ import annotations

import pytest
from licet_indexer.domain.chain import BlockRef, Finality, Header
from licet_indexer.domain.judge import (
    Doubt,
    Evidence,
    Extend,
    InconsistentAnswer,
    Limits,
    Look,
    RollBack,
    Verdict,
    Wait,
    final_of,
    judge,
)

LIMITS = Limits(fork_polls=3, lag_polls=5)
NONE = Evidence()


def name(number: int, branch: str = "a") -> str:
    return f"{branch}{number}"


def header(number: int, branch: str = "a", parent: str | None = None) -> Header:
    return Header(number, name(number, branch), parent or name(number - 1, branch), number, 0)


def ref(number: int, branch: str = "a") -> BlockRef:
    return header(number, branch).ref


TIP = ref(10)


def look(head: BlockRef, at_tip: Header | None, *after: Header) -> Look:
    return Look(head, None, at_tip, after)


def verdicts(looks: list[Look], *, head_is_ours: bool = False) -> list[Verdict]:
    evidence, found = NONE, []
    for one in looks:
        verdict = judge(TIP, one, evidence, LIMITS, head_is_ours=head_is_ours)
        evidence = verdict.evidence if isinstance(verdict, Wait) else NONE
        found.append(verdict)
    return found


def test_blocks_that_link_up_extend() -> None:
    blocks = (header(11), header(12))
    assert verdicts([look(ref(12), header(10), *blocks)]) == [Extend(blocks)]


def test_at_the_head_nothing_happens() -> None:
    assert verdicts([look(TIP, header(10))]) == [Extend(())]


def test_first_block_needs_no_parent() -> None:
    assert judge(None, look(ref(5), None, header(4), header(5)), NONE, LIMITS, head_is_ours=False) == Extend(
        (header(4), header(5))
    )


def test_block_with_another_parent_than_the_tip_is_never_applied() -> None:
    with pytest.raises(InconsistentAnswer):
        verdicts([look(ref(11), header(10), header(11, "b"))])


def test_gap_between_blocks_is_never_applied() -> None:
    with pytest.raises(InconsistentAnswer):
        verdicts([look(ref(13), header(10), header(11), header(13))])


def test_longer_chain_without_the_tip_rolls_back_at_once() -> None:
    assert verdicts([look(ref(11, "b"), header(10, "b"), header(11, "b"))]) == [RollBack()]


def test_equal_height_rolls_back_after_enough_looks() -> None:
    rival = look(ref(10, "b"), header(10, "b"))
    assert verdicts([rival] * 3) == [Wait(Evidence(Doubt.FORK, 1)), Wait(Evidence(Doubt.FORK, 2)), RollBack()]


def test_one_look_that_has_the_tip_ends_the_count() -> None:
    rival = look(ref(10, "b"), header(10, "b"))
    assert RollBack() not in verdicts([rival, rival, look(TIP, header(10)), rival, rival])


def test_lagging_node_is_waited_for_longer_than_a_fork() -> None:
    behind = look(ref(8), None)
    found = verdicts([behind] * 5, head_is_ours=True)
    assert [type(verdict) for verdict in found] == [Wait, Wait, Wait, Wait, RollBack]


def test_lower_head_outside_our_chain_counts_as_a_fork() -> None:
    assert verdicts([look(ref(8, "b"), None)] * 3)[-1] == RollBack()


def test_fork_and_lag_do_not_add_up() -> None:
    evidence = NONE
    for ours in (True, True, False, False, True, True):
        verdict = judge(TIP, look(ref(8), None), evidence, LIMITS, head_is_ours=ours)
        assert isinstance(verdict, Wait)
        evidence = verdict.evidence


def test_missing_block_below_the_head_is_inconsistent() -> None:
    with pytest.raises(InconsistentAnswer):
        verdicts([look(ref(12), None)])


@pytest.mark.parametrize(
    ("finality", "final", "expected"),
    [
        (Finality("tag"), ref(8), (8, "a8")),
        (Finality("tag"), None, None),
        (Finality("depth", 2), None, (10, None)),
        (Finality("depth", 0), None, (12, None)),
        (Finality("depth", 20), None, None),
    ],
)
def test_final_block_is_the_nodes_or_so_many_below_the_head(
    finality: Finality, final: BlockRef | None, expected: tuple[int, str | None] | None
) -> None:
    assert final_of(Look(ref(12), final, None, ()), finality) == expected
