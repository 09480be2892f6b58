"""`POST /v1/chat/completions`: what is asked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from licet_gateway.dataplane.openai import fields
from licet_gateway.dataplane.openai.errors import BadRequest
from licet_gateway.dataplane.openai.fields import Document
from licet_gateway.dataplane.openai.sampling import Sampling, Streaming, sampling, streaming

MAX_MESSAGES: Final = 4096
# `developer` is what newer clients call the system's role.
ROLES: Final = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
UNSUPPORTED: Final = {
    "n": fields.is_one,
    "tools": fields.empty,
    "tool_choice": fields.is_none,
    "functions": fields.empty,
    "function_call": fields.is_none,
    "logprobs": fields.empty,
    "top_logprobs": fields.empty,
    "logit_bias": fields.empty,
    "presence_penalty": fields.empty,
    "frequency_penalty": fields.empty,
    "audio": fields.never,
    "modalities": fields.is_text_alone,
    "response_format": fields.is_text_format,
    "prediction": fields.never,
    "web_search_options": fields.never,
}


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A valid request. `messages` is the JSON that the runner takes, `text_bytes` the bytes of text in it."""

    model: str
    messages: bytes
    message_count: int
    text_bytes: int
    sampling: Sampling
    streaming: Streaming


def parse(body: bytes) -> ChatRequest:
    """Reads a request; raises BadRequest."""
    given = fields.document(body)
    model = fields.model(given)
    messages = _messages(given)
    fields.refuse_unsupported(given, UNSUPPORTED)
    return ChatRequest(
        model=model,
        messages=json.dumps(messages, separators=(",", ":")).encode(),
        message_count=len(messages),
        text_bytes=sum(len(message["content"].encode()) for message in messages),
        sampling=sampling(given),
        streaming=streaming(given),
    )


def _messages(given: Document) -> list[dict[str, str]]:
    messages = given.get("messages")
    if not isinstance(messages, list) or not 1 <= len(messages) <= MAX_MESSAGES:
        raise BadRequest(
            f"messages must be a list of 1 to {MAX_MESSAGES} messages", "messages", "invalid_type"
        )
    return [_message(message, f"messages[{index}]") for index, message in enumerate(messages)]


def _message(message: Any, param: str) -> dict[str, str]:
    if not isinstance(message, dict):
        raise BadRequest(f"{param} must be an object", param, "invalid_type")
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise BadRequest(f"{param}.role must be one of {', '.join(ROLES)}", f"{param}.role", "invalid_value")
    for name in ("tool_calls", "function_call", "audio"):
        if message.get(name):
            raise BadRequest(
                f"{param}.{name} is not supported here", f"{param}.{name}", "unsupported_parameter"
            )
    return {"role": ROLES[role], "content": _content(message.get("content"), f"{param}.content")}


def _content(content: Any, param: str) -> str:
    """The text of a message; parts of it stand on lines of their own."""
    if isinstance(content, str):
        return fields.checked(content, param)
    if not isinstance(content, list) or not content:
        raise BadRequest(f"{param} must be a text or a list of text parts", param, "invalid_type")
    texts = []
    for index, part in enumerate(content):
        where = f"{param}[{index}]"
        if not isinstance(part, dict) or part.get("type") != "text":
            raise BadRequest(f"{where} must be a part of type text", where, "unsupported_parameter")
        texts.append(fields.text(part, "text", f"{where}.text"))
    return "\n".join(texts)
