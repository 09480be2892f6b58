"""A run that left a test out has failed, and so has a check that found something."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import check
from tools.check import Check

ROOT = Path(__file__).resolve().parents[2]


def run_pytest(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    """pytest on one file, under the repository's own conftest."""
    shutil.copy(ROOT / "conftest.py", folder)
    (folder / "test_it.py").write_text(f"import pytest\n\n{body}")
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("def test_a(): pytest.skip('no server')", "1 skipped"),
        ("@pytest.mark.xfail\ndef test_a(): assert False", "1 xfailed"),
        ("@pytest.mark.xfail\ndef test_a(): pass", "1 xpassed"),
    ],
)
def test_a_test_that_was_left_out_fails_the_run(tmp_path: Path, body: str, outcome: str) -> None:
    done = run_pytest(tmp_path, body)

    assert outcome in done.stdout.splitlines()[-1]
    assert done.returncode == 1


def test_a_run_of_passed_tests_passes(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "def test_a(): pass")

    assert "1 passed" in done.stdout.splitlines()[-1]
    assert done.returncode == 0


def test_a_failed_check_shows_its_output_and_the_others_run_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [Check("bad", ("sh", "-c", "echo line 7; exit 2")), Check("good", ("true",))]
    monkeypatch.setattr(check, "checks", lambda: found)

    assert check.main([]) == 1
    shown = capsys.readouterr().out
    assert "line 7" in shown
    assert "ok     good" in shown
    assert shown.splitlines()[-1] == "check: 2 run, 1 failed: bad"
    assert check.main(["good"]) == 0


def test_a_name_that_no_check_has_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "checks", lambda: [Check("good", ("true",))])

    assert check.main(["godo"]) == 1
