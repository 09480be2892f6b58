"""`POST /v1/embeddings`: what is asked, and the answer."""

from __future__ import annotations

import base64
import math
import struct
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import Any, Final

from licet_gateway.dataplane.openai import fields
from licet_gateway.dataplane.openai.counts import TokenCounts, counts_of
from licet_gateway.dataplane.openai.errors import BadRequest
from licet_gateway.dataplane.openai.fields import Document
from licet_gateway.dataplane.openai.responses import Outputs
from licet_gateway.dataplane.openai.wire import Malformed

MAX_TEXTS: Final = 2048
_FP32_BYTES: Final = 4
_EMBEDDING: Final = b"embedding"


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """A valid request; texts are UTF-8. `dimensions` is what the caller expects, if anything."""

    model: str
    texts: tuple[bytes, ...]
    base64: bool
    dimensions: int | None

    def check_dimensions(self, dimensions: int) -> None:
        """Raises BadRequest unless the model's vectors are as long as the caller expects; they are never cut."""
        if self.dimensions not in (None, dimensions):
            raise BadRequest(
                f"this model's embeddings have {dimensions} dimensions", "dimensions", "unsupported_parameter"
            )


def parse(body: bytes) -> EmbeddingRequest:
    """Reads a request; raises BadRequest."""
    given = fields.document(body)
    model = fields.model(given)
    texts = _texts(given)
    form = given.get("encoding_format")
    if form not in (None, "float", "base64"):
        raise BadRequest("encoding_format must be float or base64", "encoding_format", "invalid_value")
    return EmbeddingRequest(
        model, texts, form == "base64", fields.integer(given, "dimensions", 1, (1 << 31) - 1)
    )


def _texts(given: Document) -> tuple[bytes, ...]:
    value: Any = given.get("input")
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BadRequest(
            "input must be a text or a list of texts; tokens are not supported", "input", "invalid_type"
        )
    if not 1 <= len(texts) <= MAX_TEXTS or "" in texts:
        raise BadRequest(
            f"input must be 1 to {MAX_TEXTS} texts, none of them empty", "input", "invalid_value"
        )
    return tuple(fields.checked(text, "input").encode() for text in texts)


def answer(asked: EmbeddingRequest, body: bytes) -> tuple[bytes, TokenCounts]:
    """OpenAI's list from the bytes of a `ModelInferResponse`, and what was counted. Raises Malformed."""
    outputs = Outputs(body)
    raw, shape, counts = outputs.floats(_EMBEDDING), outputs.shape(_EMBEDDING), counts_of(outputs)
    if raw is None or counts is None or len(shape) != 2 or shape[0] != len(asked.texts):
        raise Malformed("the response is not an embedding's of these texts")
    size = shape[1] * _FP32_BYTES
    if len(raw) != size * shape[0] or not size:
        raise Malformed("the embeddings are not as long as their shape says")
    items = [
        b'{"object":"embedding","index":%d,"embedding":%b}'
        % (index, _vector(raw[at : at + size], asked.base64))
        for index, at in enumerate(range(0, len(raw), size))
    ]
    told = b'],"model":%b,"usage":{"prompt_tokens":%d,"total_tokens":%d}}' % (
        encode_basestring_ascii(asked.model).encode(),
        counts.input_tokens,
        counts.input_tokens,
    )
    return b'{"object":"list","data":[' + b",".join(items) + told, counts


def _vector(raw: bytes, as_base64: bool) -> bytes:
    """One vector: base64 of little-endian float32, or numbers that give the same float32 again."""
    if as_base64:
        return b'"' + base64.b64encode(raw) + b'"'
    values = struct.unpack(f"<{len(raw) // _FP32_BYTES}f", raw)
    if not all(map(math.isfinite, values)):
        raise Malformed("an embedding is not finite")
    return ("[" + ",".join([f"{value:.9g}" for value in values]) + "]").encode()
