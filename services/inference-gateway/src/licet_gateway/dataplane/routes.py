"""The routes that exist. Whatever is not on this list never reaches Triton."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from licet_gateway.dataplane.openai.asks import Endpoint
from licet_gateway.domain import SLUG_PART


class Action(enum.Enum):
    """What a route does."""

    INFER = enum.auto()
    MODEL_READY = enum.auto()
    MODEL_METADATA = enum.auto()
    LIVE = enum.auto()
    READY = enum.auto()
    OPENAI = enum.auto()
    LIST_MODELS = enum.auto()
    SHOW_MODEL = enum.auto()


# What is licensed, metered and logged.
INFERENCE: Final = frozenset({Action.INFER, Action.OPENAI})


class Operation(enum.Enum):
    """How a model is called; the value ends Triton's path."""

    INFER = b"/infer"
    GENERATE = b"/generate"
    GENERATE_STREAM = b"/generate_stream"

    @property
    def streams(self) -> bool:
        """Whether the answer is worth something before it is whole."""
        return self is Operation.GENERATE_STREAM


@dataclass(frozen=True, slots=True)
class Route:
    """An action, and the slug (`owner/model`) that its path names; `operation` is that of INFER."""

    action: Action
    slug: str = ""
    operation: Operation = Operation.INFER
    # Of OPENAI.
    endpoint: Endpoint = Endpoint.CHAT


_MODEL: Final = re.compile(
    rb"/v2/models/(%s)\.(%s)(|/ready|%s)"
    % (SLUG_PART.encode(), SLUG_PART.encode(), b"|".join(operation.value for operation in Operation)),
    re.ASCII,
)
_MODEL_ACTION: Final = {
    (b"GET", b"/ready"): Action.MODEL_READY,
    (b"GET", b""): Action.MODEL_METADATA,
} | {(b"POST", operation.value): Action.INFER for operation in Operation}
_FIXED: Final = {
    (b"GET", b"/v2/health/live"): Route(Action.LIVE),
    (b"GET", b"/v2/health/ready"): Route(Action.READY),
    (b"GET", b"/v1/models"): Route(Action.LIST_MODELS),
} | {(b"POST", endpoint.value): Route(Action.OPENAI, endpoint=endpoint) for endpoint in Endpoint}
# Clients escape the slash of a slug, or do not.
_OPENAI_MODEL: Final = re.compile(
    rb"/v1/models/(%s)(?:/|%%2[Ff])(%s)" % (SLUG_PART.encode(), SLUG_PART.encode()), re.ASCII
)
# Everything below this has OpenAI's shapes, errors too.
OPENAI_PREFIX: Final = b"/v1/"


@lru_cache(maxsize=4096)
def find_route(method: bytes, target: bytes) -> Route | None:
    """The route of a request, or None. Targets are compared as sent: no decoding, no query, no version."""
    fixed = _FIXED.get((method, target))
    if fixed is not None:
        return fixed
    match = _MODEL.fullmatch(target)
    if match is None:
        return _openai_model(method, target)
    owner, model, rest = match.groups()
    action = _MODEL_ACTION.get((method, rest))
    if action is None:
        return None
    slug = f"{owner.decode()}/{model.decode()}"
    return Route(action, slug, Operation(rest)) if action is Action.INFER else Route(action, slug)


def _openai_model(method: bytes, target: bytes) -> Route | None:
    match = _OPENAI_MODEL.fullmatch(target)
    if match is None or method != b"GET":
        return None
    return Route(Action.SHOW_MODEL, f"{match.group(1).decode()}/{match.group(2).decode()}")
