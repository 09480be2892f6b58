"""Calls whose version is not ready anywhere yet: held for a moment, until the vault announces it."""

from __future__ import annotations

from typing import Protocol


class Held(Protocol):
    """A call that holds nothing but its request."""

    held_until_ns: int

    def go_on(self) -> None: ...
    def gave_up(self) -> None: ...


class Holding:
    """By model. A call that is woken and finds its version still missing comes back, under its first deadline."""

    __slots__ = ("_calls", "_calls_max", "_count", "_hold_ns")

    def __init__(self, *, hold_ns: int, calls_max: int) -> None:
        self._hold_ns = hold_ns
        self._calls_max = calls_max
        # A dict keeps the order in which they came.
        self._calls: dict[str, dict[Held, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, call: Held, slug: str, now: int) -> bool:
        """Whether it is held: there is room, and it was not held to its end before."""
        if not call.held_until_ns:
            call.held_until_ns = now + self._hold_ns
        if now >= call.held_until_ns or self._count >= self._calls_max:
            return False
        self._calls.setdefault(slug, {})[call] = None
        self._count += 1
        return True

    def remove(self, call: Held, slug: str) -> None:
        calls = self._calls.get(slug)
        if calls is None or call not in calls:
            return
        del calls[call]
        self._count -= 1
        if not calls:
            del self._calls[slug]

    def wake(self, slug: str) -> None:
        """A version of the model became ready somewhere."""
        calls = self._calls.pop(slug, {})
        self._count -= len(calls)
        for call in calls:
            call.go_on()

    def sweep(self, now: int) -> None:
        for slug, calls in list(self._calls.items()):
            for call in [call for call in calls if now >= call.held_until_ns]:
                self.remove(call, slug)
                call.gave_up()
