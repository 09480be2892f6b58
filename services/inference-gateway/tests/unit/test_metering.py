"""Rows are counted from the bytes; any cut of the bytes gives the same count, or asks for more."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licet_gateway.dataplane.metering import METER_MAX, NotMetered, rows_of_header, rows_of_json

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=6)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
VALUES = st.recursive(SCALARS, lambda v: st.lists(v) | st.dictionaries(NAMES, v), max_leaves=8)


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, int]:
    """A KServe request with an input X somewhere, its members in any order, and X's rows."""
    rows = draw(st.integers(1, 10**9))
    members: list[tuple[str, Any]] = [
        ("name", "X"),
        ("shape", [rows, *draw(st.lists(st.integers(0, 99), max_size=3))]),
        ("datatype", "FP32"),
        ("data", draw(VALUES)),
        ("parameters", draw(st.dictionaries(NAMES, VALUES, max_size=2))),
    ]
    wanted = dict(draw(st.permutations(members)))
    others = [
        {"name": f"Y{i}", "shape": [7], "data": draw(VALUES)}
        for i in range(draw(st.integers(min_value=0, max_value=2)))
    ]
    body: dict[str, Any] = {
        "inputs": draw(st.permutations([wanted, *others])),
        "outputs": [{"name": "X"}],
        "id": '"}]',
    }
    ordered = dict(draw(st.permutations(list(body.items()))))
    text = json.dumps(ordered, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    return text.encode(), rows


@given(requests())
def test_rows_are_the_first_dimension_wherever_it_stands(request_and_rows: tuple[bytes, int]) -> None:
    body, rows = request_and_rows
    assert rows_of_json(body, "X", complete=True) == rows
    assert rows_of_header(body, "X") == rows


@given(requests(), st.integers(0, 10_000))
def test_a_part_of_a_request_gives_the_same_rows_or_none_yet(
    request_and_rows: tuple[bytes, int], cut: int
) -> None:
    body, rows = request_and_rows
    assert rows_of_json(body[:cut], "X", complete=False) in (rows, None)


def test_rows_are_known_before_the_data_is_there() -> None:
    assert rows_of_json(b'{"inputs":[{"name":"X","shape":[3,4],"data":[1,2', "X", complete=False) == 3


BAD_JSON = [
    b"",
    b"hello",
    b"[]",
    b"{}",
    b'{"inputs":{}}',
    b'{"inputs":[]}',
    b'{"inputs":[1]}',
    b'{"inputs":[{"name":"Y","shape":[3]}]}',
    b'{"inputs":[{"name":"X"}]}',
    b'{"inputs":[{"name":"X","shape":3}]}',
    b'{"inputs":[{"name":"X","shape":[]}]}',
    b'{"inputs":[{"name":"X","shape":[0,4]}]}',
    b'{"inputs":[{"name":"X","shape":[-1,4]}]}',
    b'{"inputs":[{"name":"X","shape":[1.5,4]}]}',
    b'{"inputs":[{"name":"X","shape":["3",4]}]}',
    b'{"inputs":[{"name":"X","shape":[true]}]}',
    b'{"inputs":[{"name":"X","shape":[9999999999999,4]}]}',
    b'{"inputs":[{"shape":[1],"shape":[3],"name":"X"}]}',
    b'{"inputs":[{"name":"X","name":"Y","shape":[3]}]}',
    b'{"inputs":[{"name":"X\\u0000","shape":[3]}]}',
    b'{"inputs":[{"name":"X","shape":[3',
]


@pytest.mark.parametrize("body", BAD_JSON)
def test_a_body_that_does_not_tell_its_rows_is_refused(body: bytes) -> None:
    with pytest.raises(NotMetered):
        rows_of_json(body, "X", complete=True)


@pytest.mark.parametrize("body", BAD_JSON)
def test_a_header_that_does_not_tell_its_rows_is_refused(body: bytes) -> None:
    with pytest.raises(NotMetered):
        rows_of_header(body, "X")


def test_nesting_is_bounded() -> None:
    body = b'{"inputs":[{"data":' + b"[" * 100 + b"]" * 100 + b',"name":"X","shape":[3]}]}'
    with pytest.raises(NotMetered, match="nested too deeply"):
        rows_of_json(body, "X", complete=True)


def test_of_a_repeated_key_the_header_is_refused() -> None:
    with pytest.raises(NotMetered, match="repeats a key"):
        rows_of_header(b'{"inputs":[{"name":"X","shape":[3]}],"inputs":[]}', "X")


def test_an_escaped_name_is_the_name() -> None:
    assert rows_of_json(b'{"\\u0069nputs":[{"n\\u0061me":"\\u0058","shape":[3]}]}', "X", complete=True) == 3


def test_the_search_for_a_shape_is_bounded() -> None:
    body = b'{"inputs":[{"data":[' + b"1," * (METER_MAX // 2)
    with pytest.raises(NotMetered, match="first"):
        rows_of_json(body, "X", complete=False)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_or_need_more_but_never_crash(body: bytes) -> None:
    for complete in (True, False):
        with contextlib.suppress(NotMetered):
            rows_of_json(b'{"inputs":[{' + body, "X", complete=complete)
