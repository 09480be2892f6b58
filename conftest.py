"""Rules for every test run: a test that was skipped or expected to fail is a test that was not passed."""

from __future__ import annotations

import pytest

NOT_PASSED = ("skipped", "xfailed", "xpassed")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Make the run fail if anything was left out."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    left_out = sum(len(reporter.stats.get(outcome, [])) for outcome in NOT_PASSED) if reporter else 0
    if left_out and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
