"""Upper bounds of a call's tokens, from what the vault tells of a version: what is reserved before the call."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

TASKS: Final = frozenset({"text-generation", "text-embedding"})


@dataclass(frozen=True, slots=True)
class TextModel:
    """What a caller may ask of a text model. `chat` is None where it takes no messages."""

    task: str
    max_input_tokens: int
    max_output_tokens: int
    max_texts: int
    dimensions: int
    beyond_bytes: int
    chat: tuple[int, int] | None

    def output_bound(self, max_tokens: int | None) -> int:
        """The tokens that may come out: what is asked for, never more than the model's cap."""
        return self.max_output_tokens if max_tokens is None else min(max_tokens, self.max_output_tokens)

    def prompt_bound(self, size_bytes: int) -> int:
        """The tokens that a text of so many bytes may have; the runner refuses more."""
        return min(size_bytes + self.beyond_bytes, self.max_input_tokens)

    def chat_bound(self, text_bytes: int, messages: int) -> int:
        """The tokens that messages may have with what the model's template puts around them."""
        fixed, each = self.chat or (0, 0)
        return self.prompt_bound(text_bytes + fixed + each * messages)

    def texts_bound(self, texts: tuple[bytes, ...]) -> int:
        """The tokens that texts to embed may have together."""
        return sum(self.prompt_bound(len(text)) for text in texts)


def text_model(schema_json: str) -> TextModel | None:
    """A version's `schema_json` as the vault announces it; None unless it is a text model's."""
    try:
        found = json.loads(schema_json)
    except ValueError:
        return None
    if not isinstance(found, dict) or found.get("task") not in TASKS:
        return None
    limits, chat = found.get("limits", {}), found.get("chat")
    try:
        return TextModel(
            task=found["task"],
            max_input_tokens=limits["max_input_tokens"],
            max_output_tokens=limits.get("max_output_tokens", 0),
            max_texts=limits["max_batch"],
            dimensions=limits.get("dimensions", 0),
            beyond_bytes=found["tokens_beyond_bytes"],
            chat=_overhead(chat),
        )
    except (KeyError, TypeError):
        return None


def _overhead(chat: dict[str, Any] | None) -> tuple[int, int] | None:
    return None if chat is None else (chat["fixed"], chat["per_message"])
