"""`GET /v1/models` and `/v1/models/{owner}/{model}`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Listed:
    """A model that is served: its slug, its task (empty if unknown) and since when it is known, in unix seconds."""

    slug: str
    task: str
    created: int


def models(listed: Iterable[Listed]) -> bytes:
    """OpenAI's list, in the order of the names."""
    data = [_object(model) for model in sorted(listed, key=lambda model: model.slug)]
    return json.dumps({"object": "list", "data": data}, separators=(",", ":")).encode()


def model(listed: Listed) -> bytes:
    """OpenAI's object of one model."""
    return json.dumps(_object(listed), separators=(",", ":")).encode()


def _object(listed: Listed) -> dict[str, Any]:
    owner = listed.slug.partition("/")[0]
    found = {"id": listed.slug, "object": "model", "created": listed.created, "owned_by": owner}
    return {**found, "task": listed.task} if listed.task else found
