"""The one root of what can go wrong here: every message tells its reader what to do or which log to read."""

from __future__ import annotations


class LocalError(Exception):
    """Something about this machine or this profile; never a bug of the caller."""
