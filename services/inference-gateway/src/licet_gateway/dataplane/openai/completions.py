"""`POST /v1/completions`: what is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from licet_gateway.dataplane.openai import fields
from licet_gateway.dataplane.openai.errors import BadRequest
from licet_gateway.dataplane.openai.fields import Document
from licet_gateway.dataplane.openai.sampling import Sampling, Streaming, sampling, streaming

UNSUPPORTED: Final = {
    "n": fields.is_one,
    "best_of": fields.is_one,
    "echo": fields.empty,
    "suffix": fields.empty,
    # Here a number: 0 asks for the chosen token's own.
    "logprobs": fields.never,
    "logit_bias": fields.empty,
    "presence_penalty": fields.empty,
    "frequency_penalty": fields.empty,
}


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """A valid request; `prompt` is UTF-8."""

    model: str
    prompt: bytes
    sampling: Sampling
    streaming: Streaming


def parse(body: bytes) -> CompletionRequest:
    """Reads a request; raises BadRequest."""
    given = fields.document(body)
    model = fields.model(given)
    prompt = _prompt(given)
    fields.refuse_unsupported(given, UNSUPPORTED)
    return CompletionRequest(model, prompt, sampling(given), streaming(given))


def _prompt(given: Document) -> bytes:
    prompt = given.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        (prompt,) = prompt
    if not isinstance(prompt, str):
        raise BadRequest(
            "prompt must be one text; tokens and more texts are not supported", "prompt", "invalid_type"
        )
    return fields.checked(prompt, "prompt").encode()
