"""The routes that exist. Whatever is not on this list never reaches Triton."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from licet_gateway.domain import SLUG_PART


class Action(enum.Enum):
    """What a route does."""

    INFER = enum.auto()
    MODEL_READY = enum.auto()
    MODEL_METADATA = enum.auto()
    LIVE = enum.auto()
    READY = enum.auto()


@dataclass(frozen=True, slots=True)
class Route:
    """An action, and the slug (`owner/model`) that it names."""

    action: Action
    slug: str = ""


_MODEL: Final = re.compile(
    rb"/v2/models/(%s)\.(%s)(/infer|/ready|)" % (SLUG_PART.encode(), SLUG_PART.encode()), re.ASCII
)
_MODEL_ACTION: Final = {
    (b"POST", b"/infer"): Action.INFER,
    (b"GET", b"/ready"): Action.MODEL_READY,
    (b"GET", b""): Action.MODEL_METADATA,
}
_FIXED: Final = {
    (b"GET", b"/v2/health/live"): Route(Action.LIVE),
    (b"GET", b"/v2/health/ready"): Route(Action.READY),
}


@lru_cache(maxsize=4096)
def find_route(method: bytes, target: bytes) -> Route | None:
    """The route of a request, or None. Targets are compared as sent: no decoding, no query, no version."""
    fixed = _FIXED.get((method, target))
    if fixed is not None:
        return fixed
    match = _MODEL.fullmatch(target)
    if match is None:
        return None
    action = _MODEL_ACTION.get((method, match.group(3)))
    return None if action is None else Route(action, f"{match.group(1).decode()}/{match.group(2).decode()}")
