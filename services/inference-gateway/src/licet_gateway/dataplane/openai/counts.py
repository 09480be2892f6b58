"""The tokens that a platform's runner counted, from the bytes of Triton's answer: the only truth for metering."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from licet_gateway.dataplane.openai.responses import Outputs
from licet_gateway.dataplane.openai.wire import Malformed

INPUT_TOKENS: Final = b"input_tokens"
OUTPUT_TOKENS: Final = b"output_tokens"


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens so far; both rise alone. A model without output tokens has none of them."""

    input_tokens: int
    output_tokens: int = 0


def token_counts(body: bytes) -> TokenCounts | None:
    """The counts in a `ModelInferResponse`; None where it has none. Raises Malformed for what is no response."""
    return counts_of(Outputs(body))


def counts_of(outputs: Outputs) -> TokenCounts | None:
    """The same from outputs that were found already."""
    given = _one(outputs, INPUT_TOKENS)
    if given is None:
        return None
    return TokenCounts(given, _one(outputs, OUTPUT_TOKENS) or 0)


def _one(outputs: Outputs, name: bytes) -> int | None:
    values = outputs.ints(name)
    if values is None:
        return None
    if len(values) != 1 or values[0] < 0:
        raise Malformed(f"{name!r} is no count")
    return values[0]
