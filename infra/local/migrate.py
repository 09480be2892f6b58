"""Bring databases to their newest schemas: `python -m infra.local.migrate URL FOLDER [URL FOLDER ...]`.

What `python -m licet_<name> migrate` does, for all in one process: to import four services costs more than to
run their SQL, and their settings ask for contracts that may still be on their way.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from licet_kit.migrations import migrate


async def run(pairs: Sequence[tuple[str, Path]]) -> None:
    """Migrate one database after the other; each folder holds a service's own migrations."""
    for url, folder in pairs:
        await migrate(url, folder)


if __name__ == "__main__":
    words = sys.argv[1:]
    asyncio.run(run([(url, Path(folder)) for url, folder in zip(words[::2], words[1::2], strict=True)]))
