"""Errors inside of answers: Triton's generate routes say 200 first, and what went wrong afterwards."""

from __future__ import annotations

import json
from typing import Final

# An error is a line of text; a longer event is none.
EVENT_MAX: Final = 64 * 1024
_GAP: Final = b"\n\n"
_ERROR: Final = b'{"error":'


class LastEvent:
    """Keeps the last server-sent event of a body that comes in any pieces; a plain JSON body is one event."""

    __slots__ = ("_bytes",)

    def __init__(self) -> None:
        self._bytes = b""

    def add(self, data: bytes) -> None:
        """Takes the next piece."""
        held = self._bytes + data
        self._bytes = held[held.rstrip(b"\n").rfind(_GAP) + 1 :]
        if len(self._bytes) > EVENT_MAX:
            # Enough of its end to find the next one's beginning.
            self._bytes = b"x" + self._bytes[-len(_GAP) :]

    @property
    def is_error(self) -> bool:
        """Whether it says an error and nothing else: a model may have an output of that name."""
        text = self._bytes.strip().removeprefix(b"data:").strip()
        if not text.startswith(_ERROR):
            return False
        try:
            said = json.loads(text)
        except ValueError:
            return False
        return isinstance(said, dict) and said.keys() == {"error"}
