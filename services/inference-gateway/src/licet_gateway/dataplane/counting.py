"""Tokens of an answer, as the platform's runner counts them: outputs named `input_tokens` and `output_tokens`,
cumulative on each response of a stream. The vault lets no publisher's model have outputs of these names."""

from __future__ import annotations

import json
import struct
from typing import Any, Final, Protocol

from licet_gateway.domain import Measure

# Longest answer that is held until its tokens are counted.
COUNTED_MAX: Final = 16 * 1024 * 1024
_GAP: Final = b"\n\n"
_INTEGERS: Final = {"INT32": "<i", "UINT32": "<I", "INT64": "<q", "UINT64": "<Q"}


class TokenCount(Protocol):
    """Fed with an answer's body as it comes."""

    @property
    def tokens(self) -> int | None:
        """Tokens that the answer has stated so far; None while it has stated none."""
        ...

    def add(self, data: bytes) -> None: ...


class EventTokens:
    """Of a stream of server-sent events, or of one plain JSON object, as Triton's generate routes answer."""

    __slots__ = ("_held", "_name", "tokens")

    def __init__(self, measure: Measure) -> None:
        self._name = measure.value
        self._held = b""
        self.tokens: int | None = None

    def add(self, data: bytes) -> None:
        *events, self._held = (self._held + data).split(_GAP)
        for event in events:
            self._count(event)
        # A plain object has no gap behind it.
        if self._held.endswith(b"}") and not self._held.startswith(b"data:"):
            self._count(self._held)
        if len(self._held) > COUNTED_MAX:
            self._held = b""

    def _count(self, event: bytes) -> None:
        said = _loaded(event.strip().removeprefix(b"data:"))
        self.tokens = _latest(self.tokens, said.get(self._name) if isinstance(said, dict) else None)


class BodyTokens:
    """Of a whole inference answer: JSON, or a JSON header of `json_bytes` with binary tensors behind it."""

    __slots__ = ("_body", "_json_bytes", "_name")

    def __init__(self, measure: Measure, json_bytes: int | None) -> None:
        self._name = measure.value
        self._json_bytes = json_bytes
        self._body = b""

    def add(self, data: bytes) -> None:
        if len(self._body) <= COUNTED_MAX:
            self._body += data

    @property
    def tokens(self) -> int | None:
        if len(self._body) > COUNTED_MAX:
            return None
        size = len(self._body) if self._json_bytes is None else self._json_bytes
        said = _loaded(self._body[:size])
        outputs = said.get("outputs") if isinstance(said, dict) else None
        at = size
        for output in outputs if isinstance(outputs, list) else ():
            if not isinstance(output, dict):
                return None
            parameters = output.get("parameters")
            binary = parameters.get("binary_data_size", 0) if isinstance(parameters, dict) else 0
            if not isinstance(binary, int):
                return None
            if output.get("name") == self._name:
                return _latest(None, self._value(output, at) if binary else self._listed(output))
            at += binary
        return None

    @staticmethod
    def _listed(output: dict[str, Any]) -> object:
        data = output.get("data")
        return data if isinstance(data, list) else None

    def _value(self, output: dict[str, Any], at: int) -> object:
        form = _INTEGERS.get(output.get("datatype", ""))
        if form is None or at + struct.calcsize(form) > len(self._body):
            return None
        return struct.unpack_from(form, self._body, at)[0]


def _loaded(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _latest(known: int | None, stated: object) -> int | None:
    """The counts are cumulative: the highest one holds, and what is no count changes nothing."""
    if isinstance(stated, list):
        stated = stated[0] if stated else None
    if not isinstance(stated, int) or isinstance(stated, bool) or stated < 0:
        return known
    return stated if known is None else max(known, stated)
