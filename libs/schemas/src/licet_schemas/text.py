"""What a manifest says of a text model: its limits, its special tokens and its chat template, all of them data.

Both kinds bring `tokenizer.json` and `model.onnx`. The graph of a generator is one step of a recurrence,

    TOKEN `[streams] int64`, STATE `[streams, state] float32`
    → LOGITS `[streams, vocabulary] float32`, NEXT_STATE `[streams, state] float32`

which begins from a state of zeros; that of an embedding is

    TOKENS `[texts, length] int64`, MASK `[texts, length] int64` → EMBEDDING `[texts, dimensions] float32`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

GENERATION: Final = "text-generation"
EMBEDDING: Final = "text-embedding"
# Outputs that the platform's runners count by: no publisher's graph may give them.
TOKEN_OUTPUTS: Final = frozenset({"input_tokens", "output_tokens"})

MAX_TOKENS: Final = 1 << 20
MAX_STATE: Final = 1 << 22
MAX_DIMENSIONS: Final = 16_384
MAX_END_TOKENS: Final = 16
# No text has more tokens than bytes and this many: what a tokenizer adds around a text. Runners refuse more.
SPECIAL_TOKENS_MAX: Final = 8

Token = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Piece = Annotated[str, StringConstraints(max_length=256)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Turn(_Strict):
    """The text around one message of a role."""

    before: Piece
    after: Piece


class Chat(_Strict):
    """How messages become a prompt: each one between its role's texts, then `reply`. Special tokens are written
    as their text here; in a message the same text is only text.
    """

    system: Turn
    user: Turn
    assistant: Turn
    reply: Piece


class Generation(_Strict):
    """A text generator. `begin` is put before every prompt; a token of `end` ends the text and is no part of it.

    A longer input than `max_input_tokens` is refused; more than `max_output_tokens` are never generated.
    """

    max_input_tokens: int = Field(ge=1, le=MAX_TOKENS)
    max_output_tokens: int = Field(ge=1, le=MAX_TOKENS)
    state: int = Field(ge=1, le=MAX_STATE)
    begin: Token | None
    end: list[Token] = Field(max_length=MAX_END_TOKENS)
    chat: Chat | None


class Embedding(_Strict):
    """A text embedding; a text of more than `max_input_tokens` is refused."""

    max_input_tokens: int = Field(ge=1, le=MAX_TOKENS)
    dimensions: int = Field(ge=1, le=MAX_DIMENSIONS)


def interface(part: Generation | Embedding) -> dict[str, Any]:
    """What callers are told beside the limits: inputs, outputs, and the bound of tokens for a number of bytes.

    A prompt has at most `bytes + tokens_beyond_bytes` tokens; messages become at most
    `bytes + fixed + per_message * messages` bytes of prompt.
    """
    if isinstance(part, Embedding):
        return {
            "inputs": [_tensor("text", "BYTES", [-1])],
            "outputs": [
                _tensor("embedding", "FP32", [-1, part.dimensions]),
                _tensor("input_tokens", "INT32", [1]),
            ],
            "tokens_beyond_bytes": SPECIAL_TOKENS_MAX,
        }
    found: dict[str, Any] = {
        "inputs": [_tensor(*given, optional=True) for given in GENERATION_INPUTS],
        "outputs": [_tensor(*given) for given in GENERATION_OUTPUTS],
        "tokens_beyond_bytes": SPECIAL_TOKENS_MAX,
    }
    if part.chat is not None:
        found["chat"] = prompt_overhead(part.chat)
    return found


def prompt_overhead(chat: Chat) -> dict[str, int]:
    """Bytes that the template adds: for all messages together, and at most for each."""
    turns = (chat.system, chat.user, chat.assistant)
    return {
        "fixed": len(chat.reply.encode()),
        "per_message": max(len((turn.before + turn.after).encode()) for turn in turns),
    }


GENERATION_INPUTS: Final = (
    ("text_input", "BYTES", [1]),
    ("messages", "BYTES", [1]),
    ("max_tokens", "INT32", [1]),
    ("temperature", "FP32", [1]),
    ("top_p", "FP32", [1]),
    ("seed", "INT64", [1]),
    ("stop", "BYTES", [-1]),
)
GENERATION_OUTPUTS: Final = (
    ("text_output", "BYTES", [1]),
    ("finish_reason", "BYTES", [1]),
    ("input_tokens", "INT32", [1]),
    ("output_tokens", "INT32", [1]),
)


def _tensor(name: str, datatype: str, shape: list[int], *, optional: bool = False) -> dict[str, Any]:
    described = {"name": name, "datatype": datatype, "shape": list(shape)}
    return {**described, "optional": True} if optional else described
