"""Heads and bodies: what is read, what is refused, and that the split of the bytes never matters."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licet_gateway.dataplane.http import (
    HEAD_MAX,
    HttpError,
    RequestHead,
    parse_request_head,
    parse_response_head,
)
from licet_gateway.dataplane.reader import RequestReader

HOST = b"Host: gateway\r\n"


@dataclass
class Recorder:
    """A sink that answers each request at once, or when told to."""

    at_once: bool = True
    heard: list[tuple[str, object]] = field(default_factory=list)
    heads: list[RequestHead] = field(default_factory=list)
    reader: RequestReader | None = None
    body: bytes = b""

    def on_head(self, head: RequestHead) -> None:
        self.heads.append(head)
        self.heard.append(("head", (head.method, head.target, head.content_length, head.chunked)))
        self.body = b""

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_end(self) -> None:
        self.heard.append(("end", self.body))
        if self.at_once and self.reader is not None:
            self.reader.next_request()


def listen(pieces: list[bytes]) -> list[tuple[str, object]]:
    """Everything that a reader tells of these pieces; an error is told last, by its status."""
    sink = Recorder()
    sink.reader = RequestReader(sink)
    try:
        for piece in pieces:
            sink.reader.feed(piece)
    except HttpError as error:
        return [*sink.heard, ("error", error.status)]
    return sink.heard


def split_at(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


INFER = b"POST /v2/models/a.b/infer HTTP/1.1\r\n" + HOST
GOOD = [
    b"GET /v2/health/live HTTP/1.1\r\n" + HOST + b"\r\n",
    b"\r\nGET /v2/health/live HTTP/1.1\r\n" + HOST + b"\r\n",
    INFER + b"Content-Length: 5\r\n\r\nhello",
    INFER + b"Content-Length: 0\r\n\r\n",
    INFER + b"content-length:   5  \r\nExpect: 100-continue\r\n\r\nhello",
    INFER + b"Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    INFER
    + b'Transfer-Encoding: chunked\r\n\r\n2;a;x = "y;\\""\r\nhe\r\n3 ; z\r\nllo\r\n000\r\nTrailer: t\r\n\r\n',
]
BAD = [
    (INFER + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (INFER + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400),
    (INFER + b"Content-Length: 5, 5\r\n\r\n", 400),
    (INFER + b"Content-Length: +5\r\n\r\n", 400),
    (INFER + b"Content-Length: 0x5\r\n\r\n", 400),
    (INFER + b"Content-Length: -1\r\n\r\n", 400),
    (INFER + b"Content-Length: \r\n\r\n", 400),
    (INFER + b"Content-Length: 9999999999999999\r\n\r\n", 400),
    (INFER + b"Content-Length : 5\r\n\r\nhello", 400),
    (INFER + b"Content-Length: 5\r\n folded: x\r\n\r\nhello", 400),
    (INFER + b"X: a\x00b\r\n\r\n", 400),
    (INFER + b"X: a\nContent-Length: 5\r\n\r\n", 400),
    (INFER + b"X: a\r b\r\n\r\n", 400),
    (INFER + b": empty\r\n\r\n", 400),
    (INFER + b"Transfer-Encoding: chunked, identity\r\n\r\n", 501),
    (INFER + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    (INFER + b"Transfer-Encoding: xchunked\r\n\r\n", 501),
    (INFER + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (INFER + b"Host: other\r\n\r\n", 400),
    (INFER + b"Authorization: a\r\nAuthorization: b\r\n\r\n", 400),
    (INFER + b"Expect: something\r\n\r\n", 417),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.0\r\n" + HOST + b"\r\n", 505),
    (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 400),
    (b"GET http://x/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"CONNECT / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello", 400),
    (b"GET /\x80 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"G@T / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"\r\n\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n", 400),
    (INFER + b"".join(b"X-%d: y\r\n" % i for i in range(101)) + b"\r\n", 431),
    (INFER + b"X: " + b"y" * HEAD_MAX + b"\r\n\r\n", 431),
]
CHUNKED = INFER + b"Transfer-Encoding: chunked\r\n\r\n"
BAD_BODIES = [
    b"\r\nhello\r\n0\r\n\r\n",
    b"g\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\r\n0\r\n\r\n",
    b"5\r\nhelloo\r\n0\r\n\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"123456789\r\nhello\r\n0\r\n\r\n",
    b"5;" + b"x" * 300 + b"\r\nhello\r\n0\r\n\r\n",
    b"5;x\x00\r\nhello\r\n0\r\n\r\n",
    b"5;\r\nhello\r\n0\r\n\r\n",
    b'5;"\r\nhello\r\n0\r\n\r\n',
    b'5;x="y\r\nhello\r\n0\r\n\r\n',
    b"5;x y\r\nhello\r\n0\r\n\r\n",
    b"0\r\nContent-Length: 5\r\n\r\n",
    b"0\r\ntransfer-encoding: chunked\r\n\r\n",
    b"0\r\nno colon\r\n\r\n",
    b"0\r\n folded: x\r\n\r\n",
    b"0\r\n" + b"T: " + b"x" * 200 + b"\r\n" + b"T: y\r\n" * 1500 + b"\r\n",
]


@pytest.mark.parametrize(("request_bytes", "status"), BAD)
def test_an_ambiguous_head_is_refused(request_bytes: bytes, status: int) -> None:
    assert listen([request_bytes])[-1] == ("error", status)


@pytest.mark.parametrize("body", BAD_BODIES)
def test_a_malformed_chunked_body_is_refused(body: bytes) -> None:
    assert listen([CHUNKED + body])[-1] == ("error", 400)


@pytest.mark.parametrize("request_bytes", GOOD)
def test_a_good_request_is_read_to_its_end(request_bytes: bytes) -> None:
    heard = listen([request_bytes])
    body = b"hello" if b"hello" in request_bytes or b"llo" in request_bytes else b""
    assert [kind for kind, _ in heard] == ["head", "end"]
    assert heard[-1] == ("end", body)


@given(
    requests=st.lists(st.sampled_from(GOOD[:1] + GOOD[2:]), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 5000), max_size=40),
)
def test_any_split_of_pipelined_requests_is_read_alike(requests: list[bytes], cuts: list[int]) -> None:
    data = b"".join(requests)
    assert listen(split_at(data, cuts)) == listen([data])
    assert listen([data[i : i + 1] for i in range(len(data))]) == listen([data])


@given(
    data=st.sampled_from([b for b, _ in BAD] + [CHUNKED + b for b in BAD_BODIES]),
    cuts=st.lists(st.integers(0, 20_000), max_size=20),
)
def test_any_split_of_a_bad_request_is_refused_alike(data: bytes, cuts: list[int]) -> None:
    assert listen(split_at(data, cuts)) == listen([data])


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=8))
def test_arbitrary_bytes_are_refused_or_read_but_never_crash(data: bytes, cuts: list[int]) -> None:
    assert listen(split_at(data, cuts)) == listen([data])


def test_a_pipelined_request_waits_until_the_one_before_is_answered() -> None:
    sink = Recorder(at_once=False)
    reader = RequestReader(sink)
    reader.feed(GOOD[2] + GOOD[0])
    assert [kind for kind, _ in sink.heard] == ["head", "end"]
    assert reader.backlog == len(GOOD[0])
    reader.next_request()
    assert [kind for kind, _ in sink.heard] == ["head", "end", "head", "end"]
    assert reader.backlog == 0


def test_a_thousand_pipelined_requests_do_not_deepen_the_stack() -> None:
    heard = listen([GOOD[0] * 5000])
    assert len(heard) == 10_000


def test_a_repeated_head_is_read_as_the_first_one_was() -> None:
    sink = Recorder()
    sink.reader = RequestReader(sink)
    sink.reader.feed(GOOD[2] + GOOD[2] + GOOD[2].replace(b"a.b", b"c.d"))
    assert sink.heads[0] is sink.heads[1]
    assert sink.heads[2].target == b"/v2/models/c.d/infer"


def test_only_first_class_fields_are_kept() -> None:
    head = parse_request_head(
        INFER + b"X-Secret: s\r\nAuthorization: Bearer t\r\nConnection: a, Close\r\n\r\n"
    )
    assert dict(head.fields) == {b"host": b"gateway", b"authorization": b"Bearer t"}
    assert not head.keep_alive


RESPONSE = b"HTTP/1.1 200 OK\r\n"


def test_a_response_keeps_its_own_headers_and_loses_those_of_the_hop() -> None:
    head = parse_response_head(
        RESPONSE
        + b"Content-Type: application/json\r\nConnection: keep-alive\r\nx-licet-units: 9\r\n"
        + b"Inference-Header-Content-Length: 12\r\nContent-Length: 40\r\n\r\n"
    )
    assert head.relayed == b"content-type: application/json\r\ninference-header-content-length: 12\r\n"
    assert (head.status, head.content_length, head.keep_alive) == (200, 40, True)


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 4\r\nContent-Length: 4\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Content-Length: four\r\n",
        b"bad line\r\n",
    ],
)
def test_an_ambiguous_response_is_refused(fields: bytes) -> None:
    with pytest.raises(HttpError):
        parse_response_head(RESPONSE + fields + b"\r\n")


def test_a_response_without_length_ends_with_its_connection() -> None:
    head = parse_response_head(RESPONSE + b"\r\n")
    assert head.content_length is None
    assert not head.keep_alive
