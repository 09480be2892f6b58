"""Rows of a JSON request: what is metered must be what Triton would read, which takes the first of repeated keys."""

from __future__ import annotations

import json
from random import Random
from typing import Any, Final

from licet_gateway.dataplane.metering import NotMetered, rows_of_header, rows_of_json

from gateway_fuzz.engine import Case, WrongError
from gateway_fuzz.mutation import mutated

INPUT: Final = "X"
WORDS: Final = (
    *(b'"name":"X",', b'"name":"Y",', b'"shape":[1],', b'"shape":[9,1],', b'"inputs":[],', b'"inputs":[{'),
    *(
        b'{"name":"X","shape":[1]},',
        b'"n\\u0061me":"X",',
        b'"sh\\u0061pe":[1],',
        b'"\\u0058"',
        b'"name":null,',
    ),
    *(
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b":",
        b'"',
        b"\\",
        b"\0",
        b"\x0b",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\\ud800",
    ),
    *(
        b"1e3",
        b"-1",
        b"01",
        b"1.0",
        b"NaN",
        b"null",
        b"999999999999999999999",
        b"[" * 70,
        b"/**/",
        b" \r\n\t",
    ),
)


def request(rng: Random) -> bytes:
    """An inference request as KServe writes it, its members in any order."""
    inputs = [_tensor(rng) for _ in range(rng.choice((0, 1, 1, 2, 3)))]
    members: list[tuple[str, Any]] = [
        ("inputs", inputs),
        ("id", "a"),
        ("parameters", {"a": [1, {"b": "]}"}]}),
    ]
    members = members[: rng.randint(1, 3)]
    rng.shuffle(members)
    return json.dumps(dict(members), indent=rng.choice((None, None, 1))).encode()


def _tensor(rng: Random) -> dict[str, Any]:
    rows = rng.choice((1, 2, 3))
    shape = rng.choice(([rows, 4], [rows, 4], [rows, 4], [1], [3, 2], [1000, 4], [0, 4], [], [2.0, 4], ["1"]))
    members: list[tuple[str, Any]] = [
        ("name", rng.choice((INPUT, INPUT, INPUT, "Y", "x"))),
        ("shape", shape),
        ("datatype", "FP32"),
        ("data", rng.choice(([1.0] * 4 * rows, [1.0] * 4 * rows, [1.0, "]", {"name": INPUT, "shape": [7]}]))),
    ]
    if rng.random() < 0.3:
        members.append(("parameters", {"binary_data_size": 8, "shape": [5]}))
    if rng.random() < 0.2:
        del members[rng.randrange(len(members))]
    rng.shuffle(members)
    return dict(members)


def rows_by_first_key(body: bytes) -> int | None:
    """What Triton would read (RapidJSON's FindMember); None where it refuses the body, as it does two inputs alike."""
    decoder = json.JSONDecoder(object_pairs_hook=_first)
    try:
        text = body.decode().lstrip(" \t\r\n")
        parsed, end = decoder.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    # RapidJSON takes a NUL for the end of its text.
    if text[end:].lstrip(" \t\r\n")[:1] not in ("", "\0"):
        return None
    inputs = parsed.get("inputs") if isinstance(parsed, dict) else None
    named = (
        [t for t in inputs if isinstance(t, dict) and t.get("name") == INPUT]
        if isinstance(inputs, list)
        else []
    )
    if len(named) > 1:
        return None
    shape = named[0].get("shape") if named else None
    rows = shape[0] if isinstance(shape, list) and shape else None
    return rows if type(rows) is int else 0


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


class JsonKind:
    """Of one body, and of every beginning of it that is cut."""

    name = "json"

    def make(self, rng: Random) -> Case:
        data = mutated(request(rng), rng, WORDS)
        at = rng.randrange(len(data) + 1)
        return (data[:at], data[at:])

    def close(self) -> None:
        """It stands on nothing."""

    def check(self, case: Case) -> None:
        data = b"".join(case)
        meant = rows_by_first_key(data)
        rows = _or_none(lambda: rows_of_json(data, INPUT, complete=True))
        if rows is not None and meant is not None and rows != meant:
            raise WrongError(f"other rows: the scan says {rows}, a whole parse {meant}")
        header = _or_none(lambda: rows_of_header(data, INPUT))
        if header is not None and header != meant:
            raise WrongError(f"other rows: the header says {header}, a whole parse {meant}")
        if rows is None:
            return
        try:
            early = rows_of_json(case[0], INPUT, complete=False)
        except NotMetered as error:
            raise WrongError(f"refused early: {error}") from None
        if early not in (None, rows):
            raise WrongError(f"other rows: {early} of a part, {rows} of the whole")


def _or_none(count: Any) -> int | None:
    try:
        found: int | None = count()
    except NotMetered:
        return None
    return found
