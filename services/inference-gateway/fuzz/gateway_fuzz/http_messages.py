"""HTTP/1.1 as others read it: requests by llhttp, the parser of Node.js, and answers by a strict reader of our own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

import httptools

from gateway_fuzz.engine import WrongError


@dataclass
class Message:
    """One request, as far as it came. Names in lower case, in their order."""

    method: bytes = b""
    target: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    # Whether the head came to its end, and the whole.
    headed: bool = False
    whole: bool = False

    @property
    def shown(self) -> str:
        """For a finding."""
        return f"{self.target!r} {self.headers} {self.body[:80]!r}, {'whole' if self.whole else 'cut'}"

    def one(self, name: bytes) -> bytes | None:
        """The value of a field that stands once at most."""
        found = [value for given, value in self.headers if given == name]
        if len(found) > 1:
            raise WrongError(f"repeated field: {name!r} passed")
        return found[0] if found else None


class _Sink:
    """What httptools calls."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.parser: httptools.HttpRequestParser | None = None

    def on_message_begin(self) -> None:
        self.messages.append(Message())

    def on_url(self, url: bytes) -> None:
        self.messages[-1].target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # A trailer is told in the same way.
        if not self.messages[-1].headed:
            self.messages[-1].headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.messages[-1].headed = True
        if self.parser is not None:
            self.messages[-1].method = self.parser.get_method()

    def on_body(self, body: bytes) -> None:
        self.messages[-1].body += body

    def on_message_complete(self) -> None:
        self.messages[-1].whole = True


def requests_of(data: bytes) -> tuple[list[Message], str]:
    """Every request in a stream of bytes, and why it ends early, if it does."""
    sink = _Sink()
    while True:
        sink.parser = parser = httptools.HttpRequestParser(sink)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # A server that upgrades nothing goes on reading requests.
            data = data[upgrade.args[0] :]
            continue
        except httptools.HttpParserError as error:
            return sink.messages, str(error) or type(error).__name__
        return sink.messages, ""


# Where llhttp stops and the gateway goes on as RFC 9110 and 9112 ask: it knows a list of methods, reads no obs-text in
# what is quoted, and no white space in front of a chunk's extension. By its words, and what then stands in the bytes.
STRICTER: Final = {
    "Invalid method encountered": re.compile(rb""),
    "Expected space after method": re.compile(rb""),
    "Invalid character in chunk extensions quoted value": re.compile(rb"[\x80-\xff]"),
    "Invalid character in chunk size": re.compile(rb"\r\n[0-9A-Fa-f]{1,8}[\t ]+;"),
}


def stops_early(words: str, data: bytes) -> bool:
    """Whether llhttp ended by these words for a reason that is no fault of the bytes."""
    allowed = STRICTER.get(words)
    return allowed is not None and allowed.search(data) is not None


_STATUS: Final = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) ([\x20-\x7e]*)")
_FIELD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ([\x20-\x7e]*)")


@dataclass(frozen=True)
class Answer:
    """One final answer."""

    status: int
    headers: dict[str, str]
    body: bytes


def answers_of(data: bytes, *, cut: bool) -> list[Answer]:
    """Every answer in what a client was sent. Raises WrongError where it is malformed; only `cut` may end early."""
    found: list[Answer] = []
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            return _ended(found, cut)
        status, headers = _head(head)
        if status == 100:
            data = rest
            continue
        body = _body(headers, rest)
        if body is None:
            return _ended(found, cut)
        found.append(Answer(status, headers, body[0]))
        data = body[1]
    return found


def _ended(found: list[Answer], cut: bool) -> list[Answer]:
    if not cut:
        raise WrongError("malformed answer: it has no end")
    return found


def _head(head: bytes) -> tuple[int, dict[str, str]]:
    line, *lines = head.split(b"\r\n")
    status = _STATUS.fullmatch(line)
    if status is None:
        raise WrongError(f"malformed answer: {line!r}")
    headers: dict[str, str] = {}
    for each in lines:
        match = _FIELD.fullmatch(each)
        if match is None or match[1].lower().decode() in headers:
            raise WrongError(f"malformed answer: {each!r}")
        headers[match[1].lower().decode()] = match[2].decode()
    return int(status[1]), headers


def _body(headers: dict[str, str], rest: bytes) -> tuple[bytes, bytes] | None:
    """A body and what is behind it; None where it has no end."""
    if "transfer-encoding" not in headers:
        size = int(headers["content-length"])
        return None if len(rest) < size else (rest[:size], rest[size:])
    if headers["transfer-encoding"] != "chunked" or "content-length" in headers:
        raise WrongError("malformed answer: framed twice")
    parts: list[bytes] = []
    while True:
        line, end, rest = rest.partition(b"\r\n")
        if not end:
            return None
        size = int(line, 16)
        if len(rest) < size + 2:
            return None
        if rest[size : size + 2] != b"\r\n":
            raise WrongError("malformed answer: a chunk has no end")
        if not size:
            return b"".join(parts), rest[2:]
        parts.append(rest[:size])
        rest = rest[size + 2 :]
