"""Writes `ModelInferRequest` bytes for the platform's text runners."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from licet_gateway.dataplane.openai.sampling import Sampling
from licet_gateway.dataplane.openai.wire import field, varint

# Fields of inference.ModelInferRequest and its InferInputTensor.
_MODEL_NAME, _ID, _INPUTS, _RAW = 1, 3, 5, 7
_NAME, _DATATYPE, _SHAPE = 1, 2, 3
_SIZE: Final = struct.Struct("<I")


def _tensor(name: bytes, datatype: bytes, size: int = 1) -> bytes:
    inner = field(_NAME, name) + field(_DATATYPE, datatype) + field(_SHAPE, varint(size))
    return field(_INPUTS, inner)


_TEXT_INPUT: Final = _tensor(b"text_input", b"BYTES")
_MESSAGES: Final = _tensor(b"messages", b"BYTES")
_MAX_TOKENS: Final = _tensor(b"max_tokens", b"INT32")
_TEMPERATURE: Final = _tensor(b"temperature", b"FP32")
_TOP_P: Final = _tensor(b"top_p", b"FP32")
_SEED: Final = _tensor(b"seed", b"INT64")


def chat_request(model: str, request_id: str, messages: bytes, asked: Sampling, max_tokens: int) -> bytes:
    """A stream of the chat runner; `messages` is a ChatRequest's, `max_tokens` what is reserved."""
    return _generation(model, request_id, _MESSAGES, messages, asked, max_tokens)


def completion_request(model: str, request_id: str, prompt: bytes, asked: Sampling, max_tokens: int) -> bytes:
    """A stream that goes on from a prompt; `max_tokens` is what is reserved."""
    return _generation(model, request_id, _TEXT_INPUT, prompt, asked, max_tokens)


def embedding_request(model: str, request_id: str, texts: Sequence[bytes]) -> bytes:
    """One call of the embedding runner for all texts."""
    return _head(model, request_id) + _tensor(b"text", b"BYTES", len(texts)) + field(_RAW, _strings(texts))


def _generation(
    model: str, request_id: str, kind: bytes, text: bytes, asked: Sampling, max_tokens: int
) -> bytes:
    inputs = [_head(model, request_id), kind, _MAX_TOKENS]
    raw = [field(_RAW, _SIZE.pack(len(text)) + text), field(_RAW, struct.pack("<i", max_tokens))]
    if asked.temperature is not None:
        inputs.append(_TEMPERATURE)
        raw.append(field(_RAW, struct.pack("<f", asked.temperature)))
    if asked.top_p is not None:
        inputs.append(_TOP_P)
        raw.append(field(_RAW, struct.pack("<f", asked.top_p)))
    if asked.seed is not None:
        inputs.append(_SEED)
        raw.append(field(_RAW, struct.pack("<q", asked.seed)))
    if asked.stop:
        inputs.append(_tensor(b"stop", b"BYTES", len(asked.stop)))
        raw.append(field(_RAW, _strings([stop.encode() for stop in asked.stop])))
    return b"".join(inputs + raw)


def _head(model: str, request_id: str) -> bytes:
    return field(_MODEL_NAME, model.encode()) + field(_ID, request_id.encode())


def _strings(texts: Sequence[bytes]) -> bytes:
    return b"".join(_SIZE.pack(len(text)) + text for text in texts)
