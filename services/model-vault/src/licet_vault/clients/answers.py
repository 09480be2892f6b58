"""What a text model must answer to be called ready."""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np
from tritonclient.http import InferResult

from licet_vault.domain import LoadFailed

PROBE_TEXTS: Final = ("A", "licet: it is permitted")
PROBE_TOKENS: Final = 4
PROBE_REQUEST: Final = {"text_input": "A", "max_tokens": PROBE_TOKENS, "temperature": 0.0}
_DATA: Final = "data:"


def events_of(body: bytes) -> list[dict[str, Any]]:
    """The objects of a server-sent stream; raises LoadFailed for anything else."""
    lines = [line for line in body.decode(errors="replace").splitlines() if line]
    try:
        found = [json.loads(line.removeprefix(_DATA)) for line in lines]
    except ValueError as error:
        raise LoadFailed("the answer is no stream of events") from error
    if not found or not all(isinstance(event, dict) for event in found):
        raise LoadFailed("the answer is no stream of events")
    return found


def check_stream(events: list[dict[str, Any]]) -> None:
    """Raises LoadFailed unless a stream ended with its reason, counted upwards and within what was asked."""
    if told := [event["error"] for event in events if "error" in event]:
        raise LoadFailed(f"a short text is refused: {told[0]}")
    reasons = [event.get("finish_reason") for event in events]
    if reasons[-1] not in ("stop", "length") or any(reasons[:-1]):
        raise LoadFailed(f"a stream ended as {reasons}")
    given, made = _counted(events, "input_tokens"), _counted(events, "output_tokens")
    if len(set(given)) != 1 or given[0] < 1 or made != sorted(made) or made[-1] > PROBE_TOKENS:
        raise LoadFailed(f"a stream counted {given} tokens in and {made} out")


def _counted(events: list[dict[str, Any]], name: str) -> list[int]:
    found = [event.get(name) for event in events]
    counts = [count for count in found if isinstance(count, int)]
    if len(counts) != len(found):
        raise LoadFailed(f"a stream did not tell its {name}")
    return counts


def check_embedding(answer: InferResult, dimensions: int) -> None:
    """Raises LoadFailed unless each text has its vector, finite and no other's."""
    found, count = answer.as_numpy("embedding"), answer.as_numpy("input_tokens")
    wanted = (len(PROBE_TEXTS), dimensions)
    if found is None or found.shape != wanted or found.dtype != np.float32:
        raise LoadFailed(f"output embedding is not FP32 {list(wanted)}")
    if not np.isfinite(found).all() or np.array_equal(found[0], found[1]):
        raise LoadFailed("output embedding is not finite, or the same for two texts")
    if count is None or count.shape != (1,) or count[0] < len(PROBE_TEXTS):
        raise LoadFailed("the tokens of the texts were not counted")
