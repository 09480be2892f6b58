"""Tokens are read out of answers however these are cut, and what is no count changes nothing."""

from __future__ import annotations

import json
import struct
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licet_gateway.dataplane.counting import COUNTED_MAX, BodyTokens, EventTokens, TokenCount
from licet_gateway.domain import Measure

COUNTS = st.lists(st.integers(0, 10**6), min_size=1, max_size=8)
TEXTS = st.text(max_size=20)


def fed(count: TokenCount, data: bytes, cuts: list[int]) -> int | None:
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    for start, end in pairwise(places):
        count.add(data[start:end])
    return count.tokens


@given(COUNTS, TEXTS, st.lists(st.integers(0, 600), max_size=8))
def test_the_highest_count_of_a_stream_holds(counts: list[int], text: str, cuts: list[int]) -> None:
    events = [{"text_output": text, "output_tokens": count, "input_tokens": 3} for count in counts]
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    assert fed(EventTokens(Measure.OUTPUT_TOKENS), body, cuts) == max(counts)
    assert fed(EventTokens(Measure.INPUT_TOKENS), body, cuts) == 3


@given(st.integers(0, 10**6), TEXTS, st.lists(st.integers(0, 100), max_size=4))
def test_a_plain_answer_is_one_event(count: int, text: str, cuts: list[int]) -> None:
    body = json.dumps({"text_output": text + "}", "output_tokens": count}).encode()
    assert fed(EventTokens(Measure.OUTPUT_TOKENS), body, cuts) == count


@given(st.integers(0, 2**31 - 1), st.booleans(), st.integers(0, 3), st.lists(st.integers(0, 300), max_size=4))
def test_an_inference_answer_tells_its_count_by_json_and_by_bytes(
    count: int, binary: bool, place: int, cuts: list[int]
) -> None:
    outputs: list[dict[str, Any]] = [
        {"name": f"o{n}", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}
        for n in range(3)
    ]
    counted: dict[str, Any] = {"name": "input_tokens", "datatype": "INT32", "shape": [1]}
    counted |= {"parameters": {"binary_data_size": 4}} if binary else {"data": [count]}
    tails = [struct.pack("<2f", 1, 2)] * 3
    if binary:
        tails.insert(place, struct.pack("<i", count))
    outputs.insert(place, counted)
    head = json.dumps({"outputs": outputs}).encode()
    body = head + b"".join(tails)
    assert fed(BodyTokens(Measure.INPUT_TOKENS, len(head)), body, cuts) == count


NO_COUNT: list[Any] = [
    None,
    [],
    {},
    "x",
    {"outputs": None},
    {"outputs": [None, 3, "x"]},
    {"outputs": [{"name": "input_tokens"}]},
    {"outputs": [{"name": "input_tokens", "data": []}]},
    {"outputs": [{"name": "input_tokens", "data": 5}]},
    {"outputs": [{"name": "input_tokens", "data": [-1]}]},
    {"outputs": [{"name": "input_tokens", "data": [True]}]},
    {"outputs": [{"name": "input_tokens", "data": ["1.0:0"]}]},
    {"outputs": [{"name": "other", "parameters": 5}, {"name": "input_tokens", "data": []}]},
    {"outputs": [{"name": "input_tokens", "datatype": "INT32", "parameters": {"binary_data_size": "4"}}]},
    {"outputs": [{"name": "input_tokens", "datatype": "INT32", "parameters": {"binary_data_size": 4}}]},
]


@pytest.mark.parametrize("said", NO_COUNT)
def test_what_tells_no_count_is_none(said: Any) -> None:
    count = BodyTokens(Measure.INPUT_TOKENS, None)
    count.add(json.dumps(said).encode())
    assert count.tokens is None
    events = EventTokens(Measure.INPUT_TOKENS)
    events.add(b"data: " + json.dumps(said).encode() + b"\n\n")
    assert events.tokens is None


def test_an_answer_that_is_longer_than_what_is_held_tells_nothing() -> None:
    head = json.dumps({"outputs": [{"name": "input_tokens", "data": [5]}]}).encode()
    count = BodyTokens(Measure.INPUT_TOKENS, len(head))
    count.add(head)
    assert count.tokens == 5
    count.add(bytes(COUNTED_MAX + 1))
    assert count.tokens is None
