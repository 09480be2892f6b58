"""What may be repeated, and how often."""

from __future__ import annotations

import pytest
from licet_gateway.dataplane.clock import SECOND
from licet_gateway.dataplane.loss import CUT, CUT_SILENT, CUT_UNTOUCHED, Loss
from licet_gateway.dataplane.retry import FEW, WINDOW_S, RetryBudget, may_repeat
from licet_gateway.dataplane.routes import Operation

LATE = Loss(504, "late")


@pytest.mark.parametrize(
    ("loss", "operation", "allowed"),
    [
        (CUT_UNTOUCHED, Operation.INFER, True),
        (CUT_UNTOUCHED, Operation.GENERATE_STREAM, True),
        (CUT_SILENT, Operation.INFER, True),
        (CUT_SILENT, Operation.GENERATE, False),
        (CUT_SILENT, Operation.GENERATE_STREAM, False),
        (CUT, Operation.INFER, False),
        (LATE, Operation.INFER, False),
    ],
)
def test_only_what_surely_did_nothing_or_changes_nothing_is_repeated(
    loss: Loss, operation: Operation, *, allowed: bool
) -> None:
    assert may_repeat(loss, operation) is allowed


def taken(budget: RetryBudget, wanted: int) -> int:
    return sum(budget.take() for _ in range(wanted))


def test_repeats_are_a_share_of_recent_calls() -> None:
    budget = RetryBudget(0.1)
    budget.calls = 500
    budget.sweep(SECOND)
    budget.calls = 500
    assert taken(budget, 300) == 100


def test_a_few_are_allowed_though_there_are_few_calls() -> None:
    budget = RetryBudget(0.1)
    budget.calls = 5
    assert taken(budget, 10) == FEW


def test_none_where_the_operator_wants_none() -> None:
    budget = RetryBudget(0.0)
    budget.calls = 500
    assert taken(budget, 10) == 0


def test_calls_and_repeats_of_long_ago_do_not_count() -> None:
    budget = RetryBudget(0.1)
    budget.calls = 1000
    assert taken(budget, 300) == 100
    for second in range(1, WINDOW_S + 1):
        assert taken(budget, 1) == 0
        budget.sweep(second * SECOND)
    budget.sweep((WINDOW_S + 1) * SECOND)
    assert taken(budget, 10) == FEW
