"""Opaque page cursors and the page envelope `{data, has_more, next_cursor}` of every list route.

A cursor only names a position; it grants nothing, so it is encoded and not signed.
Queries that read it back must still filter by what the caller may see.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from pydantic import BaseModel

from licet_kit.errors import PermanentError

T = TypeVar("T")
Scalar = str | int | bool | None

# Positions are a few ids; longer input is not ours and is not worth decoding.
_MAX_CURSOR_CHARS = 2048


class CursorInvalid(PermanentError):
    """A cursor that this platform did not issue."""

    code = "cursor_invalid"


class Page(BaseModel, Generic[T]):
    """One page of a list."""

    data: list[T]
    has_more: bool
    next_cursor: str | None


def encode(position: Mapping[str, Scalar]) -> str:
    """Return the URL-safe text for a position."""
    text = json.dumps(dict(position), separators=(",", ":"), sort_keys=True)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str) -> dict[str, Scalar]:
    """Read a position back; raises CursorInvalid. The caller checks that its own fields are there."""
    if len(cursor) > _MAX_CURSOR_CHARS:
        raise CursorInvalid("the cursor is too long")
    try:
        position = json.loads(
            base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        )
    except (binascii.Error, ValueError) as error:
        raise CursorInvalid("the cursor cannot be read") from error
    if not isinstance(position, dict) or not all(isinstance(v, str | int | None) for v in position.values()):
        raise CursorInvalid("the cursor is not a position")
    return position


def page(rows: Sequence[T], limit: int, position: Callable[[T], Mapping[str, Scalar]]) -> Page[T]:
    """Make a page from `limit + 1` rows that were asked for; the extra row only tells that there is more."""
    data = list(rows[:limit])
    has_more = len(rows) > limit
    return Page(
        data=data, has_more=has_more, next_cursor=encode(position(data[-1])) if has_more and data else None
    )
