"""Reads fields of an OpenAI request; null is the same as nothing, as it is there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from licet_gateway.dataplane.openai.errors import BadRequest

MAX_MODEL_CHARS: Final = 256
# No request is nested so deeply. Python's reader recurses in C, as deeply as whoever raised its limit allows.
MAX_DEPTH: Final = 64
_STRING_OR_BRACKET: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)

Document = dict[str, Any]


def document(body: bytes) -> Document:
    """The request's object; raises BadRequest."""
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(body) > MAX_DEPTH:
        raise BadRequest("the body is nested too deeply")
    try:
        found = json.loads(body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadRequest("the body is not JSON in UTF-8") from error
    if not isinstance(found, dict):
        raise BadRequest("the body is not a JSON object")
    return found


def _depth(body: bytes) -> int:
    """How deeply its lists and objects are nested, as far as that matters: what is in texts is none of them."""
    depth = deepest = 0
    for match in _STRING_OR_BRACKET.finditer(body):
        here = body[match.start()]
        if here in b"[{":
            depth += 1
            if depth > deepest:
                deepest = depth
                if deepest > MAX_DEPTH:
                    break
        elif here in b"]}":
            depth -= 1
    return deepest


def text(given: Mapping[str, Any], name: str, param: str = "") -> str:
    """A text that must be there and can be written as UTF-8."""
    value = given.get(name)
    if not isinstance(value, str):
        raise BadRequest(f"{param or name} must be a text", param or name, "invalid_type")
    return checked(value, param or name)


def checked(value: str, param: str) -> str:
    """The same text, if it can be written as UTF-8."""
    # Half of a surrogate pair can be written in JSON and nowhere else.
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise BadRequest(f"{param} holds half of a surrogate pair", param, "invalid_value")
    return value


def model(given: Document) -> str:
    """The model's name; whether there is one of this name is not decided here."""
    found = text(given, "model")
    if not 1 <= len(found) <= MAX_MODEL_CHARS:
        raise BadRequest("model must be owner/model, as in the catalogue", "model", "invalid_value")
    return found


def integer(given: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    """A whole number between the two, or None."""
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequest(f"{name} must be a whole number", name, "invalid_type")
    if not least <= value <= most:
        raise BadRequest(f"{name} must be between {least} and {most}", name, "invalid_value")
    return value


def number(given: Mapping[str, Any], name: str, least: float, most: float) -> float | None:
    """A number between the two, or None."""
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRequest(f"{name} must be a number", name, "invalid_type")
    if not least <= value <= most:
        raise BadRequest(f"{name} must be between {least:g} and {most:g}", name, "invalid_value")
    return float(value)


def boolean(given: Mapping[str, Any], name: str, param: str = "") -> bool:
    """True or false; false if it is not there."""
    value = given.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadRequest(f"{param or name} must be true or false", param or name, "invalid_type")
    return bool(value)


def refuse_unsupported(given: Document, harmless: Mapping[str, Callable[[Any], bool]]) -> None:
    """Raises BadRequest for a field that changes the answer in a way that is not served; what does not, may stay."""
    for name, fits in harmless.items():
        value = given.get(name)
        if value is not None and not fits(value):
            raise BadRequest(f"{name} is not supported here with this value", name, "unsupported_parameter")


def never(_: Any) -> bool:
    """No value is harmless."""
    return False


def empty(value: Any) -> bool:
    """An empty list, object or text, false, or zero: the same as nothing."""
    return not value


def is_one(value: Any) -> bool:
    """The number one alone."""
    return value is not True and value == 1


def is_text_format(value: Any) -> bool:
    """`{"type": "text"}`, which is what is given anyway."""
    return isinstance(value, dict) and value.get("type") == "text"


def is_text_alone(value: Any) -> bool:
    """`["text"]`."""
    return bool(value == ["text"])


def is_none(value: Any) -> bool:
    """A tool choice that chooses none."""
    return value in ("none", "auto")


def _no_constant(name: str) -> None:
    raise ValueError(name)
