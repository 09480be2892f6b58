"""Each missing thing is said in one sentence that names the way out."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.local.paths import ROOT
from infra.local.preflight import Machine, complaints

GOOD = Machine(
    system="Linux",
    cpu="x86_64",
    python=(3, 12),
    glibc=(2, 36),
    shared_python=True,
    modules=frozenset({"venv", "ensurepip"}),
    programs=frozenset({"make"}),
    free_gib=50.0,
    installed=False,
)


def test_a_good_machine_is_not_complained_about() -> None:
    assert complaints(GOOD) == []
    assert complaints(Machine.this()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"system": "Darwin", "cpu": "arm64"}, "Linux x86-64 only, and this is Darwin arm64"),
        ({"cpu": "aarch64"}, "Linux x86-64 only"),
        ({"glibc": None}, "Triton needs glibc 2.35"),
        ({"glibc": (2, 31)}, "this is glibc 2.31"),
        ({"python": (3, 14)}, "no stub for Python 3.14: run make with PYTHON=python3.11"),
        ({"shared_python": False}, "apt install libpython3.12"),
        ({"modules": frozenset({"venv"})}, "apt install python3.12-venv"),
        ({"programs": frozenset()}, "apt install make"),
        ({"free_gib": 2.04}, "4 GiB of disk are needed at"),
        ({"free_gib": 0.4, "installed": True}, "and 0.4 GiB are free"),
    ],
)
def test_each_lack_is_one_sentence(change: dict[str, Any], words: str) -> None:
    sentences = complaints(replace(GOOD, **change))

    assert len(sentences) == 1
    assert words in sentences[0]
    assert sentences[0].endswith(".")


def test_an_installed_project_needs_less_disk() -> None:
    assert complaints(replace(GOOD, free_gib=2.0, installed=True)) == []


def test_all_lacks_are_said_at_once() -> None:
    assert len(complaints(replace(GOOD, programs=frozenset(), shared_python=False))) == 2


def test_an_old_python_gets_a_sentence_instead_of_a_traceback(tmp_path: Path) -> None:
    source = (ROOT / "infra/local/install.py").read_text().replace("OLDEST = (3, 11)", "OLDEST = (3, 99)")
    script = tmp_path / "install.py"
    script.write_text(source)

    done = subprocess.run(["python3", script], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("licet: Python 3.11 or newer is needed and this is 3.")
    assert len(done.stderr.splitlines()) == 1


def test_the_entry_file_uses_no_syntax_that_an_old_python_cannot_read() -> None:
    source = (ROOT / "infra/local/install.py").read_text()

    compile(source, "install.py", "exec", dont_inherit=True)
    assert "from __future__" not in source
    assert "->" not in source
    assert ":=" not in source
    assert "match " not in source
