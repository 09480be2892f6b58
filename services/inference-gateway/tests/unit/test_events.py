"""An error inside of an answer is found in whatever pieces it comes, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from licet_gateway.dataplane.events import EVENT_MAX, LastEvent

ERROR = b'data: {"error":"the model failed"}\n\n'
TOKEN = b'data: {"TOKEN":"a","model_name":"m","model_version":"1"}\n\n'


def is_error(body: bytes, piece: int) -> bool:
    last = LastEvent()
    for at in range(0, len(body), piece):
        last.add(body[at : at + piece])
    return last.is_error


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 64, 10**6])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (TOKEN + ERROR, True),
        (ERROR, True),
        (b'{"error":"generate expects model to produce exactly 1 response"}', True),
        (TOKEN, False),
        (TOKEN * 3, False),
        (ERROR + TOKEN, False),
        (b"", False),
        (b'data: {"error":"an output","model_name":"m"}\n\n', False),
        (b'data: {"error":\n\n', False),
        (b'data: {"TOKEN":"data: {\\"error\\":1}"}\n\n', False),
    ],
)
def test_only_a_last_event_that_is_an_error_is_one(body: bytes, expected: bool, piece: int) -> None:
    assert is_error(body, piece) is expected


@pytest.mark.parametrize("piece", [4096, 10**6])
def test_an_event_too_long_to_be_an_error_is_none_and_hides_none(piece: int) -> None:
    filler = b"x" * 2 * EVENT_MAX
    assert is_error(b"data: " + filler + b"\n\n" + ERROR, piece)
    assert not is_error(b'data: {"error":"' + filler + b'"}\n\n', piece)
