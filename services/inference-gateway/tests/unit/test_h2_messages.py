"""gRPC messages and header blocks: what is cut, what is refused, and that others read what we encode."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import hpack
import pytest
from hpack.table import HeaderTable
from hypothesis import given
from hypothesis import strategies as st
from licet_gateway.dataplane.h2 import blocks
from licet_gateway.dataplane.h2.messages import (
    INTERNAL,
    PREFIX_SIZE,
    RESOURCE_EXHAUSTED,
    UNIMPLEMENTED,
    MessageError,
    MessageReader,
    frame,
)

NAMES = st.from_regex(rb"[a-z][a-z0-9-]{0,20}", fullmatch=True)
VALUES = st.binary(max_size=300)


@given(st.lists(st.binary(max_size=40), max_size=6), st.lists(st.integers(0, 300), max_size=12))
def test_the_split_of_the_bytes_never_matters(messages: list[bytes], cuts: list[int]) -> None:
    sent = b"".join(map(frame, messages))
    places = sorted({cut % (len(sent) + 1) for cut in cuts})
    reader = MessageReader(40)
    got: list[bytes] = []
    for start, end in zip([0, *places], [*places, len(sent)], strict=True):
        got += reader.feed(sent[start:end])
    assert got == messages
    assert reader.held == 0


def test_half_a_message_is_told_as_held() -> None:
    reader = MessageReader(100)
    assert reader.feed(frame(b"abc") + frame(b"defg")[:-1]) == [b"abc"]
    assert reader.held == PREFIX_SIZE + 3
    assert reader.feed(b"g") == [b"defg"]
    assert reader.held == 0


@pytest.mark.parametrize(
    ("prefix", "status"),
    [
        (b"\x01\0\0\0\x01", UNIMPLEMENTED),
        (b"\x02\0\0\0\x01", INTERNAL),
        (b"\x00\0\0\0\x0b", RESOURCE_EXHAUSTED),
        (b"\x00\xff\xff\xff\xff", RESOURCE_EXHAUSTED),
    ],
)
def test_a_message_that_is_not_taken_is_refused_by_its_prefix(prefix: bytes, status: int) -> None:
    for pieces in ([prefix], [prefix[:2], prefix[2:]], [frame(b"ok") + prefix]):
        reader = MessageReader(10)
        assert [reader.feed(piece) for piece in pieces[:-1]] in ([], [[]])
        with pytest.raises(MessageError) as caught:
            reader.feed(pieces[-1])
        assert caught.value.status == status


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8), st.binary(max_size=200))
def test_another_decoder_reads_our_blocks_and_keeps_no_table(
    fields: list[tuple[bytes, bytes]], path: bytes
) -> None:
    decoder = hpack.Decoder()
    read = decoder.decode(blocks.request_head(b"triton:8001", path, tuple(fields)), raw=True)
    assert [tuple(field) for field in read] == [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"triton:8001"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        *fields,
    ]
    read = decoder.decode(blocks.response_head(tuple(fields)), raw=True)
    assert [tuple(field) for field in read] == [
        (b":status", b"200"),
        (b"content-type", b"application/grpc"),
        *fields,
    ]
    assert not decoder.header_table.dynamic_entries


def test_every_static_field_is_indexed() -> None:
    for name, value in HeaderTable.STATIC_TABLE:
        block = blocks.encode_fields(((name, value),))
        assert len(block) == 1
        assert [tuple(field) for field in hpack.Decoder().decode(block, raw=True)] == [(name, value)]


@given(st.text(max_size=60), st.integers(0, 16))
def test_a_status_message_is_ascii_that_decodes_to_itself(message: str, status: int) -> None:
    fields = dict(hpack.Decoder().decode(blocks.trailers_only(status, message, ((b"x-y", b"z"),)), raw=True))
    assert fields[b"grpc-status"] == b"%d" % status
    assert fields[b"x-y"] == b"z"
    encoded = fields.get(b"grpc-message", b"")
    assert all(0x20 <= byte < 0x7F for byte in encoded)
    assert unquote_to_bytes(encoded) == message.encode("utf-8", "replace")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"1H", 3_600_000_000_000),
        (b"2M", 120_000_000_000),
        (b"3S", 3_000_000_000),
        (b"4m", 4_000_000),
        (b"5u", 5_000),
        (b"99999999n", 99_999_999),
        (b"100000000n", None),
        (b"m", None),
        (b"1", None),
        (b"", None),
        (b"-1S", None),
        (b"1.5S", None),
        (b"1s", None),
    ],
)
def test_a_timeout_is_digits_and_a_unit(value: bytes, expected: int | None) -> None:
    assert blocks.timeout_ns(value) == expected
