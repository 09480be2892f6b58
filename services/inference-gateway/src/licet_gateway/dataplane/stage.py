"""The stations of a call, in their order."""

from __future__ import annotations

import enum


class Stage(enum.Enum):
    """What the call waits for."""

    GATHERING = enum.auto()
    LEASING = enum.auto()
    HOLDING = enum.auto()
    CONNECTING = enum.auto()
    OPENING = enum.auto()
    RUNNING = enum.auto()
    RESENDING = enum.auto()
    DONE = enum.auto()
