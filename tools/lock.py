"""Resolve the locks again: every service and tool, and the packages inside Triton. No index address is written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = {
    "requirements.in": "requirements.lock",
    "infra/local/triton.in": "infra/local/triton.lock",
    "contracts/proof.in": "contracts/proof.lock",
}
UV = (
    *("uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"),
    *("--generate-hashes", "--no-emit-index-url", "--no-header", "--override", "tools/lock.overrides"),
)


def main(argv: list[str]) -> int:
    """Write every lock; arguments go to uv (`--upgrade`, `--upgrade-package NAME`)."""
    sys.path.insert(0, str(ROOT))
    from infra.local.pip_settings import network_environment  # noqa: PLC0415 - needs the line above

    for source, lock in LOCKS.items():
        subprocess.run(
            [*UV, *argv, source, "-o", lock], cwd=ROOT, env=network_environment(sys.executable), check=True
        )
        print(f"{lock} written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
