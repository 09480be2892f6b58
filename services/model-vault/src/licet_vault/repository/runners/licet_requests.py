"""What a caller of a text generator asks for, checked; runs inside Triton's Python back end."""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random
from typing import Any

import triton_python_backend_utils as pb_utils
from licet_tokens import Refused, Tokens, text_of

MAX_STOPS, MAX_STOP_CHARS = 16, 256


@dataclass
class Asked:
    """A request in the runner's terms: tokens of the prompt and how to go on from them."""

    prompt: list[int]
    input_tokens: int
    max_tokens: int
    temperature: float
    top_p: float
    random: Random
    stops: list[str]


def asked(request: Any, tokens: Tokens, rules: dict[str, Any]) -> Asked:
    """Reads a Triton request; raises Refused with words for the caller."""
    given = {name: _values(request, name) for name in ("text_input", "messages")}
    if (given["text_input"] is None) == (given["messages"] is None):
        raise Refused("give either text_input or messages")
    if given["messages"] is None:
        text = text_of(_one(given["text_input"], "text_input"), "text_input")
        prompt, size = tokens.ids(text), len(text.encode())
    else:
        messages = text_of(_one(given["messages"], "messages"), "messages")
        prompt, size = _chat(_turns(messages), tokens, rules["chat"])
    if rules["begin"] is not None:
        prompt = [tokens.id_of(rules["begin"]), *prompt]
    if not prompt:
        raise Refused("the input is empty")
    tokens.check(len(prompt), size)
    seed = _number(request, "seed", None, None, None)
    return Asked(
        prompt=prompt,
        input_tokens=len(prompt),
        max_tokens=int(
            min(
                _number(request, "max_tokens", rules["max_output_tokens"], 1, None),
                rules["max_output_tokens"],
            )
        ),
        temperature=float(_number(request, "temperature", 1.0, 0, 2)),
        top_p=float(_number(request, "top_p", 1.0, 0, 1)),
        random=Random() if seed is None else Random(int(seed)),  # noqa: S311  draws text, not secrets
        stops=_stops(request),
    )


def _chat(turns: list[tuple[str, str]], tokens: Tokens, chat: dict[str, Any] | None) -> tuple[list[int], int]:
    """The prompt that messages make, and its size in bytes. Only the template's special tokens are meant as such."""
    if chat is None:
        raise Refused("this model takes no messages, only text_input")
    prompt: list[int] = []
    size = 0
    for role, content in turns:
        around = chat[role]
        for text, trusted in ((around["before"], True), (content, False), (around["after"], True)):
            prompt += tokens.ids(text, trusted=trusted)
            size += len(text.encode())
        tokens.check(len(prompt), size)
    return prompt + tokens.ids(chat["reply"], trusted=True), size + len(chat["reply"].encode())


def _turns(text: str) -> list[tuple[str, str]]:
    try:
        messages = json.loads(text)
    except ValueError as error:
        raise Refused(f"messages: no JSON: {error}") from error
    if not isinstance(messages, list) or not messages:
        raise Refused("messages: not a list of messages")
    return [_turn(message, index) for index, message in enumerate(messages)]


def _turn(message: Any, index: int) -> tuple[str, str]:
    role = message.get("role") if isinstance(message, dict) else None
    if role not in ("system", "user", "assistant"):
        raise Refused(f"messages[{index}]: role is none of system, user and assistant")
    content = message.get("content")
    if not isinstance(content, str):
        raise Refused(f"messages[{index}]: content is no text")
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise Refused(f"messages[{index}]: content holds half of a surrogate pair") from error
    return role, content


def _values(request: Any, name: str) -> list[Any] | None:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else list(tensor.as_numpy().ravel())


def _one(values: list[Any] | None, name: str) -> Any:
    if values is None or len(values) != 1:
        raise Refused(f"{name} has one value")
    return values[0]


def _number(request: Any, name: str, absent: Any, least: float | None, most: float | None) -> Any:
    values = _values(request, name)
    if values is None:
        return absent
    value = _one(values, name).item()
    if (least is not None and not value >= least) or (most is not None and not value <= most):
        raise Refused(f"{name} is {value:g}, {_range(least, most)}")
    return value


def _range(least: float | None, most: float | None) -> str:
    return f"at least {least:g} is taken" if most is None else f"{least:g} to {most:g} is taken"


def _stops(request: Any) -> list[str]:
    stops = [text_of(value, "stop") for value in _values(request, "stop") or []]
    if len(stops) > MAX_STOPS or any(len(stop) > MAX_STOP_CHARS for stop in stops):
        raise Refused(f"stop: at most {MAX_STOPS} texts of {MAX_STOP_CHARS} characters are taken")
    return [stop for stop in stops if stop]
