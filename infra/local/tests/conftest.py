"""Stacks of their own below a temporary folder, so that nothing here touches a stack in use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.local.errors import LocalError
from infra.local.profile import Profile
from infra.local.stack import Stack

MakeStack = Callable[..., Stack]


@pytest.fixture
def make_stack(tmp_path: Path) -> Iterator[MakeStack]:
    """Makes stacks; `make_stack("dev", REDIS_URL=…)` names a profile and external servers. All are stopped."""
    made: list[Stack] = []

    def make(profile: str = "dev", report: Callable[[str], None] = lambda line: None, **env: str) -> Stack:
        stack = Stack(Profile.named(profile, home=tmp_path / profile, env=env), report)
        made.append(stack)
        return stack

    yield make
    for stack in reversed(made):
        stack.stop()
        with contextlib.suppress(LocalError):  # books on another stack's server go with that one
            stack.wipe()


@pytest.fixture
def stack(make_stack: MakeStack) -> Stack:
    """One empty stack."""
    return make_stack()
