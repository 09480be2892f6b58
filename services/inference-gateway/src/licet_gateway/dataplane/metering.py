"""Counts a request's units from its body without building tensors.

`rows:<INPUT>` is the first dimension of that input's `shape` in KServe's JSON. Of a repeated JSON key Triton (RapidJSON
`FindMember`) uses the first, so does this; repeats that are seen are refused all the same.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from licet_gateway.domain import Measure, TokenCaps

# Longest JSON that is read to find a shape; a client that puts data before shapes in more than this is refused.
# Skipping so much of the worst JSON takes a tenth of a second of the loop, before anyone was asked who calls.
METER_MAX: Final = 256 * 1024
_ROWS_DIGITS_MAX: Final = 12


class NotMetered(Exception):
    """The units of this body cannot be counted; the message says why, to the caller."""


class _Incomplete(Exception):
    """The scan needs more bytes."""


def bound(measure: Measure, caps: TokenCaps, body_bytes: int, asked: int | None = None) -> int:
    """The most units that a call may come to cost by bytes or tokens; `asked` output tokens at most, if it says so.

    Raises NotMetered where the version states no cap: its tokens have no bound.
    """
    if measure is Measure.BYTES:
        return max(1, body_bytes)
    cap = caps.input_tokens if measure is Measure.INPUT_TOKENS else caps.output_tokens
    if cap < 1:
        raise NotMetered(f"this model is metered by {measure.value} and its manifest states no cap on them")
    if measure is Measure.INPUT_TOKENS:
        # No token stands for less than a byte of the text; what a template writes around it has no such bound.
        return cap if caps.beyond_bytes is None else max(1, min(cap, body_bytes + caps.beyond_bytes))
    return cap if asked is None else min(cap, asked)


def asked_tokens(body: bytes) -> int | None:
    """`max_tokens` of a generate request, where it says one that a model can keep to, and only once."""
    try:
        said = json.loads(body, object_pairs_hook=_unique)
    except (ValueError, RecursionError, NotMetered):
        return None
    if not isinstance(said, dict) or _inner_keys(said) & {"max_tokens"}:
        return None
    asked = said.get("max_tokens")
    return asked if type(asked) is int and asked > 0 else None


def _inner_keys(said: dict[str, Any]) -> frozenset[str]:
    """Keys of the objects in it: Triton takes inputs from inside of `parameters` too."""
    return frozenset(key for value in said.values() if isinstance(value, dict) for key in value)


def rows_of_header(header: bytes, name: str) -> int:
    """The rows of input `name` in the whole JSON header of a binary request. Raises NotMetered."""
    try:
        parsed = json.loads(header.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise NotMetered(f"the inference header is not valid JSON: {error}") from None
    inputs = parsed.get("inputs") if isinstance(parsed, dict) else None
    if not isinstance(inputs, list):
        raise NotMetered("the inference header has no inputs")
    found = [entry for entry in inputs if isinstance(entry, dict) and entry.get("name") == name]
    if len(found) != 1:
        raise NotMetered(_no_single_input(name, len(found)))
    shape = found[0].get("shape")
    if not isinstance(shape, list) or not shape or type(shape[0]) is not int:
        raise NotMetered(f'the input "{name}" has no shape')
    return checked_rows(shape[0], name)


def rows_of_json(body: bytes, name: str, *, complete: bool) -> int | None:
    """The rows of input `name` in the first bytes of a pure JSON request; None while more bytes are needed.

    Raises NotMetered where the body, complete or METER_MAX long, does not tell.
    """
    try:
        return checked_rows(_Scan(body, name).rows(), name)
    except _Incomplete:
        if complete:
            raise NotMetered("the request body is not complete JSON") from None
        if len(body) >= METER_MAX:
            raise NotMetered(
                f'the shape of input "{name}" is not within the first {METER_MAX} bytes'
            ) from None
        return None


def checked_rows(rows: int, name: str) -> int:
    """`rows`, at least 1. Raises NotMetered otherwise."""
    if rows < 1 or rows >= 10**_ROWS_DIGITS_MAX:
        raise NotMetered(f'the first dimension of input "{name}" is {rows}; it must be at least 1')
    return rows


def _no_single_input(name: str, found: int) -> str:
    if found:
        return f'the input "{name}" is given {found} times'
    return f'the input "{name}", by whose rows this model is metered, is missing'


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise NotMetered("the inference header repeats a key")
    return made


# One token of JSON, with the white space before it. A string is taken whole; a number or word up to its delimiter.
_TOKEN: Final = re.compile(
    rb'[ \t\r\n]*(?:([{}\[\]:,])|("(?:[^"\\\x00-\x1f]|\\.)*")|([^\s{}\[\]:,"]+)(?=[\s{}\[\]:,"]))'
)
# The bytes of a skipped value that matter to its nesting.
_NESTING: Final = re.compile(rb'["{}\[\]]')
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NESTING_MAX: Final = 64


class _Scan:
    """One pass over `{"inputs": [{"name": …, "shape": [n, …], …}, …]}`; everything else is skipped unread."""

    __slots__ = ("_at", "_body", "_name")

    def __init__(self, body: bytes, name: str) -> None:
        self._body = body
        self._at = 0
        self._name = name

    def rows(self) -> int:
        if self._next() != b"{":
            raise NotMetered("the request body is not a JSON object")
        for key in self._members():
            if key == "inputs":
                return self._rows_of_inputs()
            self._skip_value()
        raise NotMetered("the request has no inputs")

    def _rows_of_inputs(self) -> int:
        if self._next() != b"[":
            raise NotMetered("the request's inputs are not a list")
        token = self._next()
        while token != b"]":
            if token != b"{":
                raise NotMetered("an input of the request is not an object")
            rows = self._rows_of_input()
            if rows is not None:
                return rows
            token = self._next()
            if token == b",":
                token = self._next()
        raise NotMetered(_no_single_input(self._name, 0))

    def _rows_of_input(self) -> int | None:
        """Reads one input up to its end, or up to where its name and shape are known to be the wanted ones."""
        name: str | None = None
        rows: int | None = None
        for key in self._members():
            if key == "name":
                if name is not None:
                    raise NotMetered("an input of the request repeats its name")
                name = self._string(self._next())
            elif key == "shape":
                if rows is not None:
                    raise NotMetered("an input of the request repeats its shape")
                rows = self._first_dimension()
            else:
                self._skip_value()
            if name == self._name and rows is not None:
                return rows
        if name == self._name:
            raise NotMetered(f'the input "{self._name}" has no shape')
        return None

    def _members(self) -> Any:
        """The keys of an object whose brace is read; the caller reads each value before it asks for the next key."""
        token = self._next()
        while token != b"}":
            key = self._string(token)
            if self._next() != b":":
                raise NotMetered("the request body is not valid JSON")
            yield key
            token = self._next()
            if token == b",":
                token = self._next()
            elif token != b"}":
                raise NotMetered("the request body is not valid JSON")

    def _first_dimension(self) -> int:
        if self._next() != b"[":
            raise NotMetered("the shape of an input is not a list")
        token = self._next()
        if not token.isdigit() or len(token) > _ROWS_DIGITS_MAX:
            raise NotMetered("the shape of an input does not start with a number of rows")
        while (following := self._next()) != b"]":
            if following in b"{}[:" or following.startswith(b'"'):
                raise NotMetered("the shape of an input is not a list of numbers")
        return int(token)

    def _skip_value(self) -> None:
        token = self._next()
        if token not in (b"{", b"["):
            if token in (b"}", b"]", b":", b","):
                raise NotMetered("the request body is not valid JSON")
            return
        depth = 1
        body, at = self._body, self._at
        while depth:
            special = _NESTING.search(body, at)
            if special is None:
                raise _Incomplete
            at = special.start()
            here = body[at]
            if here == 0x22:
                string = _STRING.match(body, at)
                if string is None:
                    raise _Incomplete
                at = string.end()
                continue
            depth += 1 if here in b"{[" else -1
            if depth > _NESTING_MAX:
                raise NotMetered("the request body is nested too deeply")
            at += 1
        self._at = at

    def _next(self) -> bytes:
        match = _TOKEN.match(self._body, self._at)
        if match is None:
            self._require_more()
            raise _Incomplete
        self._at = match.end()
        return match.group(match.lastindex or 0)

    def _require_more(self) -> None:
        """Tells an unfinished token from bytes that can never become one."""
        rest = self._body[self._at :].lstrip(b" \t\r\n")
        if rest and rest[:1] == b'"' and _STRING.match(rest) is not None:
            raise NotMetered("the request body is not valid JSON")

    def _string(self, token: bytes) -> str:
        if not token.startswith(b'"'):
            raise NotMetered("the request body is not valid JSON")
        try:
            return str(json.loads(token))
        except ValueError:
            raise NotMetered("the request body holds an invalid string") from None
