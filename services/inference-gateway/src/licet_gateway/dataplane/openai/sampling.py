"""How a text is to be generated: what chat completions and completions have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from licet_gateway.dataplane.openai import fields
from licet_gateway.dataplane.openai.errors import BadRequest
from licet_gateway.dataplane.openai.fields import Document

MAX_STOPS: Final = 4
MAX_STOP_CHARS: Final = 256
MAX_TOKENS: Final = (1 << 31) - 1
MAX_SEED: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Sampling:
    """What is asked for; None stands for the model's own."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Streaming:
    """Whether the answer comes in events, and whether the last of them tells the usage."""

    stream: bool = False
    include_usage: bool = False


def sampling(given: Document) -> Sampling:
    """Reads it from a request; raises BadRequest."""
    return Sampling(
        max_tokens=_max_tokens(given),
        temperature=fields.number(given, "temperature", 0, 2),
        top_p=fields.number(given, "top_p", 0, 1),
        seed=fields.integer(given, "seed", -MAX_SEED - 1, MAX_SEED),
        stop=_stop(given.get("stop")),
    )


def streaming(given: Document) -> Streaming:
    """Reads it from a request; raises BadRequest."""
    stream = fields.boolean(given, "stream")
    options = given.get("stream_options")
    if options is None:
        return Streaming(stream)
    if not isinstance(options, dict):
        raise BadRequest("stream_options must be an object", "stream_options", "invalid_type")
    if not stream:
        raise BadRequest("stream_options are for streams alone", "stream_options", "invalid_value")
    return Streaming(stream, fields.boolean(options, "include_usage", "stream_options.include_usage"))


def _max_tokens(given: Document) -> int | None:
    older = fields.integer(given, "max_tokens", 1, MAX_TOKENS)
    newer = fields.integer(given, "max_completion_tokens", 1, MAX_TOKENS)
    if older is not None and newer is not None and older != newer:
        raise BadRequest("max_tokens and max_completion_tokens differ", "max_tokens", "invalid_value")
    return older if newer is None else newer


def _stop(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise BadRequest("stop must be a text or a list of texts", "stop", "invalid_type")
    if len(stops) > MAX_STOPS or any(len(stop) > MAX_STOP_CHARS for stop in stops):
        raise BadRequest(
            f"stop takes at most {MAX_STOPS} texts of {MAX_STOP_CHARS} characters", "stop", "invalid_value"
        )
    return tuple(fields.checked(stop, "stop") for stop in stops if stop)
