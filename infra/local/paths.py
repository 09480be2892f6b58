"""Where things lie. Everything that is not in git is under `.local/`, one folder per profile for state."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "infra" / "local"
LOCAL = ROOT / ".local"

VENV = LOCAL / "venv"
TRITON = LOCAL / "triton"
TRITON_VENV = LOCAL / "triton-venv"
REDIS = LOCAL / "redis"
KAFKA_JARS = LOCAL / "kafka"
DOWNLOADS = LOCAL / "download"
STAMPS = LOCAL / "stamps"

CONTRACTS = ROOT / "contracts"
NODE_BIN = CONTRACTS / "node_modules" / ".bin"
"""npm links the platform's own executables here, so a process started from it has the true pid."""
