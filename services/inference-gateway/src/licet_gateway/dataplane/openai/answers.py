"""OpenAI's answers of chat completions and completions: whole, and as events of a stream.

Events are assembled around the one text that changes, since there is one for nearly every token.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import Any, Final

from licet_gateway.dataplane.openai.counts import TokenCounts
from licet_gateway.dataplane.openai.pieces import Piece

DONE: Final = b"data: [DONE]\n\n"
CONTENT_TYPE_STREAM: Final = b"text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Head:
    """What every answer to one call repeats: the call's name, when it began (unix seconds), and the asked model."""

    request_id: str
    created: int
    model: str


class ChatStream:
    """Events of a chat completion: `opening` first, then one `piece` after another, the last with its reason."""

    def __init__(self, head: Head, *, include_usage: bool) -> None:
        self._usage = include_usage
        self._counts = TokenCounts(0)
        self._before = _before(head, "chatcmpl", "chat.completion.chunk")
        # A client that asked for usage is told null until the end.
        self._after = b',"usage":null}\n\n' if include_usage else b"}\n\n"

    def opening(self) -> bytes:
        """The event that says who speaks."""
        return self._event(b'{"role":"assistant","content":""}', b"null")

    def piece(self, piece: Piece) -> bytes:
        """The events of one response; those of the last end with `[DONE]`."""
        self._counts = piece.counts
        out = b""
        if piece.text:
            delta = b'{"content":' + encode_basestring_ascii(piece.text).encode() + b"}"
            out = self._event(delta, b"null")
        return out + self.end(piece.finish_reason) if piece.finish_reason else out

    def end(self, reason: str) -> bytes:
        """The last events, also of a stream that is ended from outside (`length`)."""
        out = self._event(b"{}", f'"{reason}"'.encode())
        if self._usage:
            out += self._before + b'],"usage":' + usage_json(self._counts) + b"}\n\n"
        return out + DONE

    def _event(self, delta: bytes, reason: bytes) -> bytes:
        choice = b'{"index":0,"delta":' + delta + b',"logprobs":null,"finish_reason":' + reason + b"}]"
        return self._before + choice + self._after


class CompletionStream:
    """Events of a completion: one `piece` after another, the last with its reason."""

    def __init__(self, head: Head, *, include_usage: bool) -> None:
        self._usage = include_usage
        self._counts = TokenCounts(0)
        self._before = _before(head, "cmpl", "text_completion")
        self._after = b',"usage":null}\n\n' if include_usage else b"}\n\n"

    def opening(self) -> bytes:
        """Nothing: a completion begins with its text."""
        return b""

    def piece(self, piece: Piece) -> bytes:
        """The events of one response; those of the last end with `[DONE]`."""
        self._counts = piece.counts
        if piece.finish_reason:
            return self.end(piece.finish_reason, piece.text)
        return self._event(piece.text, b"null") if piece.text else b""

    def end(self, reason: str, text: str = "") -> bytes:
        """The last events, also of a stream that is ended from outside (`length`)."""
        out = self._event(text, f'"{reason}"'.encode())
        if self._usage:
            out += self._before + b'],"usage":' + usage_json(self._counts) + b"}\n\n"
        return out + DONE

    def _event(self, text: str, reason: bytes) -> bytes:
        said = encode_basestring_ascii(text).encode()
        choice = b'{"index":0,"text":' + said + b',"logprobs":null,"finish_reason":' + reason + b"}]"
        return self._before + choice + self._after


class Whole:
    """The pieces of a call whose answer is no stream."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self.counts = TokenCounts(0)
        self.finish_reason = ""

    def piece(self, piece: Piece) -> None:
        """Takes one response in."""
        self._texts.append(piece.text)
        self.counts, self.finish_reason = piece.counts, piece.finish_reason

    def chat(self, head: Head) -> bytes:
        """The answer of a chat completion. One that has not come to its end is told as cut by length."""
        message = {"role": "assistant", "content": "".join(self._texts), "refusal": None}
        return self._answer(head, "chatcmpl", "chat.completion", {"message": message})

    def completion(self, head: Head) -> bytes:
        """The answer of a completion. One that has not come to its end is told as cut by length."""
        return self._answer(head, "cmpl", "text_completion", {"text": "".join(self._texts)})

    def _answer(self, head: Head, prefix: str, kind: str, said: dict[str, Any]) -> bytes:
        reason = self.finish_reason or "length"
        answer = {
            "id": f"{prefix}-{head.request_id}",
            "object": kind,
            "created": head.created,
            "model": head.model,
            "choices": [{"index": 0, **said, "logprobs": None, "finish_reason": reason}],
            "usage": usage(self.counts),
        }
        return json.dumps(answer, separators=(",", ":")).encode()


def usage(counts: TokenCounts) -> dict[str, int]:
    """OpenAI's usage object."""
    return {
        "prompt_tokens": counts.input_tokens,
        "completion_tokens": counts.output_tokens,
        "total_tokens": counts.input_tokens + counts.output_tokens,
    }


def usage_json(counts: TokenCounts) -> bytes:
    """The same as JSON."""
    return json.dumps(usage(counts), separators=(",", ":")).encode()


def _before(head: Head, prefix: str, kind: str) -> bytes:
    """An event up to its first choice."""
    fixed = {
        "id": f"{prefix}-{head.request_id}",
        "object": kind,
        "created": head.created,
        "model": head.model,
    }
    return b"data: " + json.dumps(fixed, separators=(",", ":")).encode()[:-1] + b',"choices":['
