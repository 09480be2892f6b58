"""The `licet` command in somebody's terminal."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.paths import VENV

LICET = VENV / "bin" / "licet"
TIMEOUT_S = 60
DONE = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What one command left."""

    status: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """The one JSON value on stdout of a command that is done."""
        assert self.status == DONE, self.err
        return json.loads(self.out)

    def refusal(self, status: int) -> dict[str, str]:
        """The JSON error on stderr; nothing is on stdout, and it says what to do."""
        assert (self.status, self.out) == (status, ""), self
        error: dict[str, str] = json.loads(self.err)
        assert error["error"], error
        assert error["message"], error
        assert error["remedy"], error
        return error


@dataclass(frozen=True, slots=True)
class Shell:
    """Somebody's terminal: the installation's endpoints and their own credentials."""

    env: dict[str, str]
    folder: Path

    def run(self, *args: str, **env: str) -> Result:
        done = subprocess.run(
            [str(LICET), *args],
            env={"PATH": os.environ["PATH"], "NO_COLOR": "1", **self.env, **env},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        for secret in (value for name, value in self.env.items() if name.endswith(("_KEY", "_TOKEN"))):
            assert secret not in done.stdout + done.stderr, args
        return Result(done.returncode, done.stdout, done.stderr)
