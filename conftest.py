"""Rules for every test run: what was skipped was not passed, and what shares a fixture runs in one process."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from licet_kit.starting import collector_paused
from licet_kit.testing.ports import free_port
from xdist.scheduler.loadscope import LoadScopeScheduling

NOT_PASSED = ("skipped", "xfailed", "xpassed")
# They share one installation, whose start takes as long as many tests.
INSTALLATION = "e2e/scenarios/"
# The one that only reads the sources.
ALONE = "e2e/scenarios/test_interfaces_code.py"

# A shared machine may be slow at any moment, which says nothing about what is tested.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")


@pytest.fixture
def unused_tcp_port() -> int:
    """A free port that no other test process takes; pytest-asyncio's own may be any client's a moment later."""
    return free_port()


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist is untyped
    """One file's tests run in one process, one after another, because they share fixtures; so do all scenarios."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.split("::", 1)[0]
        return INSTALLATION if _is_scenario(path) else path


def _is_scenario(path: str) -> bool:
    return path.startswith(INSTALLATION) and path != ALONE


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Runs in several processes (`-n`) are always scheduled by file."""
    return ByFile(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Importing all tests is most of what a process does before its first one."""
    with collector_paused():
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest group begin first."""
    items.sort(key=lambda item: not _is_scenario(item.location[0]))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Make the run fail if anything was left out."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    left_out = sum(len(reporter.stats.get(outcome, [])) for outcome in NOT_PASSED) if reporter else 0
    if left_out and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
