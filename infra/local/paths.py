"""Where things lie. Everything that is not in git is under `.local/`, one folder per profile for state."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "infra" / "local"
LOCAL = ROOT / ".local"

VENV = LOCAL / "venv"
TRITON = LOCAL / "triton"
TRITON_VENV = LOCAL / "triton-venv"
PROOF_VENV = LOCAL / "proof-venv"
REDIS = LOCAL / "redis"
KAFKA_JARS = LOCAL / "kafka"
KAFKA_CACHE = LOCAL / "cache" / "kafka.aot"
DOWNLOADS = LOCAL / "download"
STAMPS = LOCAL / "stamps"

CONTRACTS = ROOT / "contracts"
NODE_BIN = CONTRACTS / "node_modules" / ".bin"
"""npm links the platform's own executables here, so a process started from it has the true pid."""


def tools_path() -> str:
    """A PATH on which every tool of the project comes first: Python's, node's and Foundry's."""
    return os.pathsep.join((str(VENV / "bin"), str(NODE_BIN), os.environ.get("PATH", "")))
