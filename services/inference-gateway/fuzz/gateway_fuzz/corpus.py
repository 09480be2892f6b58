"""Beginnings that are worth changing: a file each, named by what it is. `{KEY}` in one stands for an API key."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from licet_gateway.testing.keys import api_key

FOLDER: Final = Path(__file__).parent.parent / "corpus"


@cache
def of(kind: str) -> tuple[bytes, ...]:
    """All of one kind, in the order of their names."""
    key = api_key(1).text.encode()
    return tuple(path.read_bytes().replace(b"{KEY}", key) for path in sorted((FOLDER / kind).iterdir()))
