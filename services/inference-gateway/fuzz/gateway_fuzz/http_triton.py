"""A Triton that reads HTTP/1.1 as strictly as can be, and answers by what it was asked."""

from __future__ import annotations

import re
import zlib
from typing import Final

from gateway_fuzz.engine import WrongError
from gateway_fuzz.http_messages import Message
from gateway_fuzz.turning import Pipe

_LINE: Final = re.compile(
    rb"(POST|GET) (/v2/models/[a-z0-9.-]+(?:/infer|/generate|/generate_stream)?) HTTP/1\.1"
)
_FIELD: Final = re.compile(rb"([A-Za-z-]+): ([\t\x20-\x7e\x80-\xff]*)")
_CHUNK: Final = re.compile(rb"[1-9a-f][0-9a-f]*|0")

_JSON: Final = b"Content-Type: application/json\r\n"
_REFUSED: Final = b'{"error":"unexpected"}'
_METADATA: Final = b'{"name":"pinned","versions":["1"],"platform":"python","inputs":[],"outputs":[]}'


class HttpTriton(Pipe):
    """The server's end of one connection. Raises WrongError out of `write` at anything that is not exactly HTTP."""

    messages: list[Message]
    _held = b""
    _message: Message | None = None
    _left = 0
    _chunked = False

    def heard(self, data: bytes) -> None:
        self._held += data
        while self._held and self._step():
            pass

    def _step(self) -> bool:
        if self._message is None:
            return self._take_head()
        if self._chunked:
            return self._take_chunk(self._message)
        taken, self._held = self._held[: self._left], self._held[self._left :]
        self._message.body += taken
        self._left -= len(taken)
        return self._left == 0 and self._finish(self._message)

    def _take_head(self) -> bool:
        head, end, rest = self._held.partition(b"\r\n\r\n")
        if not end:
            raise WrongError("malformed request: half a head reached Triton")
        line, *lines = head.split(b"\r\n")
        matched = _LINE.fullmatch(line)
        fields = [_FIELD.fullmatch(each) for each in lines]
        if matched is None or None in fields:
            raise WrongError(f"malformed request: Triton was sent {head!r}")
        headers = [(each[1].lower(), each[2]) for each in fields if each is not None]
        self._message = message = Message(matched[1], matched[2], headers, headed=True)
        self.messages.append(message)
        self._held = rest
        length, coding = message.one(b"content-length"), message.one(b"transfer-encoding")
        self._chunked = coding == b"chunked"
        if matched[1] == b"GET":
            return self._finish(message)
        if (length is None) is (coding is None) or not (self._chunked or coding is None):
            raise WrongError(f"malformed request: framed as {length!r} and {coding!r}")
        self._left = int(length or b"0")
        return True if self._chunked or self._left else self._finish(message)

    def _take_chunk(self, message: Message) -> bool:
        line, end, rest = self._held.partition(b"\r\n")
        if not end or _CHUNK.fullmatch(line) is None:
            raise WrongError(f"malformed request: a chunk begins with {line[:40]!r}")
        size = int(line, 16)
        if rest[size : size + 2] != b"\r\n":
            raise WrongError("malformed request: a chunk does not end")
        message.body += rest[:size]
        self._held = rest[size + 2 :]
        return self._finish(message) if not size else True

    def _finish(self, message: Message) -> bool:
        message.whole = True
        self._message = None
        if self._held:
            raise WrongError("malformed request: more bytes than the request has")
        self._loop.call_soon(self._answer, message)
        return False

    def _answer(self, message: Message) -> None:
        for piece in answer_to(message):
            if not self._closing:
                self.say(piece)


def refuses(message: Message) -> bool:
    """Whether this Triton answers with an error."""
    return message.method == b"POST" and zlib.crc32(message.body) % 8 == 0


def answer_to(message: Message) -> list[bytes]:
    """What it says, in the pieces in which it comes."""
    if message.method == b"GET":
        return [_whole(b"200 OK", _METADATA)]
    variant = zlib.crc32(message.body) % 8
    if refuses(message):
        return [_whole(b"400 Bad Request", _REFUSED)]
    if message.target.endswith(b"_stream"):
        events = (b'data: {"text":"%d"}\n\n' % number for number in range(variant))
        chunks = [b"%x\r\n%s\r\n" % (len(event), event) for event in events]
        return [
            _head(b"200 OK", b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"),
            *chunks,
            b"0\r\n\r\n",
        ]
    body = b'{"outputs":[{"data":[%s]}]}' % (b"1," * variant + b"1")
    if variant == 1:
        chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        return [_head(b"200 OK", _JSON + b"Transfer-Encoding: chunked\r\n") + chunked]
    whole = _whole(b"200 OK", body)
    return [whole[:20], whole[20:-3], whole[-3:]] if variant == 2 else [whole]


def _head(status: bytes, fields: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\n%s\r\n" % (status, fields)


def _whole(status: bytes, body: bytes) -> bytes:
    return _head(status, _JSON + b"Content-Length: %d\r\n" % len(body)) + body
