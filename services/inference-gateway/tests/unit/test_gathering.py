"""Units to hold are told by as little of a body as does, and are the same however the body is cut."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licet_gateway.consumers import interface_of
from licet_gateway.dataplane.gathering import HOLD_MAX, Gathered
from licet_gateway.dataplane.metering import NotMetered
from licet_gateway.dataplane.routes import Operation
from licet_gateway.domain import NO_CAPS, MeteringRule, TokenCaps

CAPS = TokenCaps(100, 200)
LONGEST_S = 60


def rule(text: str) -> MeteringRule:
    parsed = MeteringRule.parse(text)
    assert parsed is not None
    return parsed


def units(
    text: str,
    body: bytes,
    *,
    length: int | None = None,
    operation: Operation = Operation.INFER,
    caps: TokenCaps = CAPS,
    whole: bool = True,
    piece: int = 1 << 30,
) -> int | None:
    gathered = Gathered({}, operation, length, LONGEST_S)
    for at in range(0, len(body), piece):
        gathered.add(body[at : at + piece])
    return gathered.units(rule(text), caps, whole=whole)


@given(st.binary(max_size=300), st.integers(1, 50), st.booleans())
def test_bytes_are_those_of_the_body_and_at_least_one(body: bytes, piece: int, stated: bool) -> None:
    length = len(body) if stated else None
    assert units("bytes", body, length=length, piece=piece) == max(1, len(body))


def test_a_stated_length_tells_the_bytes_before_they_came() -> None:
    assert units("bytes", b"", length=5_000_000, whole=False) == 5_000_000


def test_a_long_body_of_unknown_length_is_not_metered_by_bytes() -> None:
    assert units("bytes", b"x" * (HOLD_MAX - 1), whole=False) is None
    with pytest.raises(NotMetered, match="Content-Length"):
        units("bytes", b"x" * HOLD_MAX, whole=False)


@pytest.mark.parametrize(
    ("said", "held"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_tokens": 5000}, 200),
        ({"max_tokens": 0}, 200),
        ({"max_tokens": -1}, 200),
        ({"max_tokens": True}, 200),
        ({"max_tokens": 5.0}, 200),
        ({"max_tokens": [5]}, 200),
        ({"parameters": {"max_tokens": 5}}, 200),
        ([{"max_tokens": 5}], 200),
        ({}, 200),
    ],
)
def test_a_generation_holds_what_it_asks_for_and_the_cap_otherwise(said: object, held: int) -> None:
    body = json.dumps(said).encode()
    for operation in (Operation.GENERATE, Operation.GENERATE_STREAM):
        assert units("output_tokens", body, length=len(body), operation=operation) == held


def test_who_asks_twice_is_held_to_the_cap() -> None:
    body = b'{"max_tokens":1,"max_tokens":150}'
    assert units("output_tokens", body, length=len(body), operation=Operation.GENERATE) == 200
    # Triton takes inputs from inside of `parameters` too.
    body = b'{"max_tokens":1,"parameters":{"max_tokens":150}}'
    assert units("output_tokens", body, length=len(body), operation=Operation.GENERATE) == 200


def test_the_smallest_hold_waits_for_the_whole_body() -> None:
    part = b'{"max_tokens":5,'
    assert units("output_tokens", part, length=99, operation=Operation.GENERATE, whole=False) is None


def test_seconds_hold_the_longest_call() -> None:
    assert units("seconds", b"", length=0, whole=False) == LONGEST_S


@pytest.mark.parametrize("text", ["input_tokens", "output_tokens"])
def test_tokens_without_a_cap_are_not_metered(text: str) -> None:
    with pytest.raises(NotMetered, match="states no cap"):
        units(text, b"{}", length=2, caps=NO_CAPS)


def announced(**limits: int) -> dict[str, object]:
    return {"limits": {"max_batch": 64, "max_input_tokens": 512, **limits}, "tokens_beyond_bytes": 8}


def caps_of(schema: dict[str, object]) -> TokenCaps:
    caps = interface_of(json.dumps(schema))["caps"]
    assert isinstance(caps, TokenCaps)
    return caps


def test_an_embedding_is_bounded_by_all_its_texts() -> None:
    """The cap is that of one text, the count that of all of them."""
    caps = caps_of(announced(dimensions=16))
    assert units("input_tokens", b"", length=10**6, caps=caps, whole=False) == 64 * 512
    # An empty text is eight tokens long at most, and four bytes.
    assert units("input_tokens", b"", length=64 * 4, caps=caps, whole=False) == 64 * 4 + 64 * 8


def test_a_prompt_is_bounded_by_its_bytes_unless_a_template_writes_more() -> None:
    plain = announced(max_output_tokens=256)
    assert units("input_tokens", b"", length=100, caps=caps_of(plain), whole=False) == 108
    chat = {**plain, "chat": {"fixed": 8, "per_message": 300}}
    assert units("input_tokens", b"", length=100, caps=caps_of(chat), whole=False) == 512
