"""What can never become a usage record on Kafka lies beside the logs until the operator has looked at it.

It stands in nobody's way there, and is counted in bytes for as long as it lies: nothing is dropped without a word.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from licet_gateway.events import Unsealed

# The name has no lock in it, so that no shipper takes the folder for a worker's.
_PREFIX: Final = ".aside-"
_UNSEALED: Final = "unsealed.jsonl"


def keep_unsealed(folder: Path, unsealed: Sequence[Unsealed]) -> None:
    """Keeps records of the worker in `folder` that cannot be sealed, one JSON object a line."""
    lines = "".join(json.dumps(_described(one), default=bytes.hex) + "\n" for one in unsealed)
    with (_aside(folder) / _UNSEALED).open("a") as file:
        file.write(lines)


def kept_bytes(log_dir: Path) -> int:
    """How much lies aside, of all workers that ever were."""
    return sum(path.stat().st_size for path in log_dir.glob(f"{_PREFIX}*/*"))


def _aside(folder: Path) -> Path:
    aside = folder.with_name(f"{_PREFIX}{folder.name}")
    aside.mkdir(mode=0o700, exist_ok=True)
    return aside


def _described(unsealed: Unsealed) -> dict[str, object]:
    finished = unsealed.finished
    return {
        "reason": unsealed.reason,
        "terms": dataclasses.asdict(finished.terms),
        "record": dataclasses.asdict(finished.record),
    }
