"""When a request that was sent may be sent again, and how often that may happen at all."""

from __future__ import annotations

from collections import deque
from typing import Final

from licet_gateway.dataplane.clock import SECOND
from licet_gateway.dataplane.loss import Loss
from licet_gateway.dataplane.routes import Operation

# The budget is a share of the calls of so many seconds.
WINDOW_S: Final = 10
# So many are always allowed in that time: the share of a few calls is none.
FEW: Final = 3


def may_repeat(loss: Loss, operation: Operation) -> bool:
    """Whether the request may run once more: nothing ran, or it is an inference, which changes nothing in the model.

    What generates is neither repeatable nor cheap. Being late is no reason: the work goes on, and would be doubled.
    """
    return loss.untouched or (loss.silent and operation is Operation.INFER)


class RetryBudget:
    """Repeats as a share of recent calls: when much fails, repeating it would only be more load."""

    __slots__ = ("_counted_ns", "_share", "_windows", "calls", "repeats")

    def __init__(self, share: float) -> None:
        self._share = share
        # Of the current second; a call counts itself.
        self.calls = 0
        self.repeats = 0
        self._windows: deque[tuple[int, int]] = deque(maxlen=WINDOW_S)
        self._counted_ns = 0

    def take(self) -> bool:
        """One repeat, if there is one left."""
        calls = self.calls + sum(calls for calls, _ in self._windows)
        repeats = self.repeats + sum(repeats for _, repeats in self._windows)
        if not self._share or repeats >= max(FEW, int(calls * self._share)):
            return False
        self.repeats += 1
        return True

    def sweep(self, now: int) -> None:
        if now - self._counted_ns >= SECOND:
            self._windows.append((self.calls, self.repeats))
            self.calls = self.repeats = 0
            self._counted_ns = now
