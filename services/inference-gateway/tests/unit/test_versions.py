"""What the announcements of the vault come to."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import FrameType
from typing import Any

import pytest
from licet_gateway.dataplane.versions import VersionRegistry, VersionState

HERE, THERE = "http://triton-1:8000", "http://triton-2:8000"
FIRST = VersionState("acme/risk", "0x" + "1" * 64, HERE, True, "request", 1)
SECOND = VersionState("acme/risk", "0x" + "2" * 64, HERE, True, "rows:X", 2)


def registry(*states: VersionState) -> VersionRegistry:
    made = VersionRegistry([HERE, THERE])
    for state in states:
        made.apply(state)
    return made


def test_a_ready_version_is_called_by_its_pinned_name() -> None:
    version = registry(FIRST).find("acme/risk", FIRST.version_digest)
    assert version is not None
    assert version.path == b"/v2/models/acme.risk-1111111111111111"
    assert version.tritons == (HERE,)


def test_a_version_is_served_where_it_is_ready() -> None:
    known = registry(FIRST, replace(FIRST, triton=THERE, ordinal=2))
    version = known.find("acme/risk", FIRST.version_digest)
    assert version is not None
    assert version.tritons == (HERE, THERE)
    known.apply(replace(FIRST, ready=False, ordinal=3))
    version = known.find("acme/risk", FIRST.version_digest)
    assert version is not None
    assert version.tritons == (THERE,)
    known.apply(replace(FIRST, triton=THERE, ready=False, ordinal=4))
    assert known.find("acme/risk", FIRST.version_digest) is None
    assert known.newest("acme/risk") is None


def test_the_last_to_become_ready_is_the_newest() -> None:
    known = registry(FIRST, SECOND)
    newest = known.newest("acme/risk")
    assert newest is not None
    assert newest.version_digest == SECOND.version_digest
    known.apply(replace(SECOND, ready=False, ordinal=3))
    newest = known.newest("acme/risk")
    assert newest is not None
    assert newest.version_digest == FIRST.version_digest


def test_an_older_announcement_changes_nothing() -> None:
    known = registry(replace(FIRST, ordinal=5))
    known.apply(replace(FIRST, ready=False, ordinal=4))
    assert known.find("acme/risk", FIRST.version_digest) is not None


def test_a_server_that_is_not_ours_is_never_called() -> None:
    assert registry(replace(FIRST, triton="http://elsewhere:80")).newest("acme/risk") is None


def test_a_rule_that_is_not_known_is_not_served() -> None:
    assert registry(replace(FIRST, metering_rule="joules")).newest("acme/risk") is None


def test_a_version_belongs_to_its_model_alone() -> None:
    assert registry(FIRST).find("other/risk", FIRST.version_digest) is None


def steps(known: VersionRegistry, state: VersionState) -> int:
    """Instructions of Python that one announcement takes."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        known.apply(state)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("ready", [True, False])
@pytest.mark.parametrize("slug", ["acme/risk", "other/model"])
def test_the_work_of_an_announcement_does_not_grow_with_the_versions(slug: str, ready: bool) -> None:
    def of(count: int) -> VersionRegistry:
        others = (replace(FIRST, slug=slug, version_digest=f"0x{n:064x}", ready=ready) for n in range(count))
        return registry(*others, FIRST)

    again = replace(FIRST, ordinal=2)
    assert steps(of(1000), again) == steps(of(10), again)
