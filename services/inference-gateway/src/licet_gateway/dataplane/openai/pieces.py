"""What a text generator said in one response of its stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from licet_gateway.dataplane.openai.counts import TokenCounts, counts_of
from licet_gateway.dataplane.openai.responses import Outputs, stream_parts
from licet_gateway.dataplane.openai.wire import Malformed

REASONS: Final = frozenset({"", "stop", "length"})


@dataclass(frozen=True, slots=True)
class Piece:
    """New text, why the stream ended if it did, and what was counted up to here."""

    text: str
    finish_reason: str
    counts: TokenCounts


@dataclass(frozen=True, slots=True)
class Failure:
    """The stream ended by an error, in Triton's words; `errors.failed` makes an answer of it."""

    message: str


def read_stream(body: bytes) -> Piece | Failure | None:
    """What a `ModelStreamInferResponse` says; None where it is empty. Raises Malformed."""
    error, response = stream_parts(body)
    if error:
        return Failure(error)
    if response is None:
        return None
    return _piece(Outputs(body, *response))


def read(body: bytes) -> Piece | None:
    """What a `ModelInferResponse` says; None where it is an empty last one. Raises Malformed."""
    return _piece(Outputs(body))


def _piece(outputs: Outputs) -> Piece | None:
    text, reason = outputs.texts(b"text_output"), outputs.texts(b"finish_reason")
    if text is None and reason is None:
        return None
    counts = counts_of(outputs)
    if text is None or reason is None or counts is None or len(text) != 1 or len(reason) != 1:
        raise Malformed("the response is not a text generator's")
    finish_reason = reason[0].decode("ascii", "replace")
    if finish_reason not in REASONS:
        raise Malformed(f"finish_reason is {finish_reason!r}")
    return Piece(text[0].decode(errors="replace"), finish_reason, counts)
