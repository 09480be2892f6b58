"""Install everything the project needs into `.local/`: `python3 -m infra.local.install`. Safe to repeat.

This file runs on whatever Python the machine has, so it uses nothing that an old one cannot read.
"""

import sys
from pathlib import Path

OLDEST = (3, 11)

if __name__ == "__main__":
    if sys.version_info < OLDEST:
        have = ".".join(str(part) for part in sys.version_info[:2])
        sys.exit(
            "licet: Python 3.11 or newer is needed and this is " + have + ": run make with PYTHON=python3.11"
        )
    # First place, not the script's own folder: module names in here must not hide the standard library's.
    sys.path[0] = str(Path(__file__).resolve().parent.parent.parent)
    from infra.local.installer import main

    sys.exit(main())
