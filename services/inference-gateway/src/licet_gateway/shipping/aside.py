"""What can never become a usage record on Kafka lies beside the logs until the operator has looked at it.

It stands in nobody's way there, and is counted in bytes for as long as it lies: nothing is dropped without a word.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from licet_gateway.dataplane.entries import CloseEntry

if TYPE_CHECKING:
    from licet_gateway.events import Unsealed

# The name has no lock in it, so that no shipper takes the folder for a worker's.
_PREFIX: Final = ".aside-"
_UNSEALED: Final = "unsealed.jsonl"
_UNNAMED: Final = "unnamed.jsonl"


def keep_unsealed(folder: Path, unsealed: Sequence[Unsealed]) -> None:
    """Keeps records of the worker in `folder` that cannot be sealed, one JSON object a line."""
    _append(_aside(folder) / _UNSEALED, [_described(one) for one in unsealed])


def keep_unnamed(folder: Path, closes: Sequence[CloseEntry]) -> None:
    """Keeps the ends of calls whose lease the log does not name any more."""
    _append(_aside(folder) / _UNNAMED, [dataclasses.asdict(close) for close in closes])


def keep_damaged(folder: Path, segment: int, offset: int, data: bytes) -> bool:
    """Keeps bytes of a segment that do not read; whether they are new. Log is read again after a restart."""
    path = _aside(folder) / f"damaged-{segment:08d}-{offset}"
    new = not path.exists()
    path.write_bytes(data)
    return new


def kept_bytes(log_dir: Path) -> int:
    """How much lies aside, of all workers that ever were."""
    return sum(path.stat().st_size for path in log_dir.glob(f"{_PREFIX}*/*"))


def _aside(folder: Path) -> Path:
    aside = folder.with_name(f"{_PREFIX}{folder.name}")
    aside.mkdir(mode=0o700, exist_ok=True)
    return aside


def _append(path: Path, objects: Sequence[dict[str, object]]) -> None:
    with path.open("a") as file:
        file.writelines(json.dumps(one, default=bytes.hex) + "\n" for one in objects)


def _described(unsealed: Unsealed) -> dict[str, object]:
    finished = unsealed.finished
    return {
        "reason": unsealed.reason,
        "terms": dataclasses.asdict(finished.terms),
        "record": dataclasses.asdict(finished.record),
    }
