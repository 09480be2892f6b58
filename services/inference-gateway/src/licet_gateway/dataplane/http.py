"""HTTP/1.1 heads, read strictly (RFC 9112) and without I/O.

Whatever two implementations could read in two ways is refused: both framings at once, a repeated framing header, line
folding, bare line feeds, control characters, space before a colon. Only what is read here reaches Triton, re-rendered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

HEAD_MAX: Final = 16 * 1024
HEADERS_MAX: Final = 100
# Nobody sends more than a petabyte; more digits are an attempt to overflow somebody.
_LENGTH_DIGITS_MAX: Final = 15

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_VALUE: Final = rb"[\t\x20-\x7e\x80-\xff]*"
_REQUEST_LINE: Final = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/1\.([01])\r\n")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: (" + _VALUE + rb"))?\r\n")
_FIELDS: Final = re.compile(rb"(?:" + _TOKEN + rb":" + _VALUE + rb"\r\n)*\r\n")
_JSON_BYTES: Final = re.compile(rb"inference-header-content-length: ([0-9]{1,9})\r\n")
_FIELD: Final = re.compile(rb"(" + _TOKEN + rb"):(" + _VALUE + rb")\r\n")

# Fields that the gateway reads; two of one of them could be read in two ways, so they are refused.
_SINGLE: Final = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"content-type",
        b"content-encoding",
        b"inference-header-content-length",
        b"authorization",
        b"x-api-key",
        b"expect",
        b"traceparent",
        b"tracestate",
    }
)
# Response fields that belong to one hop, or that the gateway writes itself.
_NOT_RELAYED: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"transfer-encoding",
        b"content-length",
        b"upgrade",
        b"trailer",
        b"proxy-connection",
    }
)


class HttpError(Exception):
    """What was sent is not HTTP that this gateway reads; the connection cannot be trusted after it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The head of one request. `fields` holds the first-class fields only, with lower-case names."""

    method: bytes
    target: bytes
    content_length: int
    chunked: bool
    keep_alive: bool
    expects_continue: bool
    fields: Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """The head of one response from Triton. `relayed` is rendered, without framing and hop-by-hop fields.

    `content_length` is None where the body is chunked, or, without `chunked`, ends with the connection.
    """

    status: int
    reason: bytes
    content_length: int | None
    chunked: bool
    keep_alive: bool
    relayed: bytes
    # Length of the JSON in front of binary tensors, where there are any.
    json_bytes: int | None = None


def find_head_end(buffer: bytes) -> int:
    """The offset behind the head's empty line, or 0 while it is incomplete. Raises HttpError where it is too long."""
    end = buffer.find(b"\r\n\r\n", 0, HEAD_MAX)
    if end >= 0:
        return end + 4
    if len(buffer) >= HEAD_MAX:
        raise HttpError(431, f"the request head is longer than {HEAD_MAX} bytes")
    return 0


def parse_request_head(head: bytes) -> RequestHead:
    """Reads a whole head, its empty line included. Raises HttpError where it is not strict HTTP/1.1."""
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise HttpError(400, "the request line is malformed")
    if line.group(3) != b"1":
        raise HttpError(505, "only HTTP/1.1 is served")
    method, target = line.group(1), line.group(2)
    # Behind a CONNECT there is a tunnel to some, and a body to others.
    if not target.startswith(b"/") or method == b"CONNECT":
        raise HttpError(400, "the request target is not a path")
    fields, connection = _request_fields(head, line.end())
    if b"host" not in fields:
        raise HttpError(400, "the Host header is missing")
    chunked = _is_chunked(fields)
    length = _content_length(fields.get(b"content-length"))
    if chunked and length is not None:
        raise HttpError(400, "Content-Length and Transfer-Encoding exclude each other")
    expects = _expects_continue(fields.get(b"expect"))
    return RequestHead(
        method=method,
        target=target,
        content_length=length or 0,
        chunked=chunked,
        keep_alive=b"close" not in connection,
        expects_continue=expects and (chunked or bool(length)),
        fields=MappingProxyType(fields),
    )


def parse_response_head(head: bytes) -> ResponseHead:
    """Reads the whole head of an upstream response. Raises HttpError where it is malformed."""
    line = _STATUS_LINE.match(head)
    if line is None:
        raise HttpError(502, "the inference server's status line is malformed")
    framing: dict[bytes, bytes] = {}
    connection: set[bytes] = set()
    relayed = []
    for name, value in _iterate_fields(head, line.end(), status=502):
        if name in (b"content-length", b"transfer-encoding"):
            if name in framing:
                raise HttpError(502, "the inference server framed its response twice")
            framing[name] = value
        elif name == b"connection":
            connection.update(_tokens(value))
        elif name not in _NOT_RELAYED and not name.startswith(b"x-licet-"):
            relayed.append(b"%s: %s\r\n" % (name, value))
    chunked = framing.get(b"transfer-encoding", b"").lower() == b"chunked"
    if b"transfer-encoding" in framing and (not chunked or b"content-length" in framing):
        raise HttpError(502, "the inference server's response framing is ambiguous")
    lines = b"".join(relayed)
    measured = _JSON_BYTES.search(lines)
    status = int(line.group(1))
    length = 0 if status in (204, 304) else _content_length(framing.get(b"content-length"))
    return ResponseHead(
        status=status,
        reason=line.group(2) or b"",
        content_length=length,
        chunked=chunked,
        keep_alive=b"close" not in connection and (chunked or length is not None),
        relayed=lines,
        json_bytes=None if measured is None else int(measured.group(1)),
    )


def _iterate_fields(head: bytes, start: int, *, status: int) -> list[tuple[bytes, bytes]]:
    if _FIELDS.fullmatch(head, start) is None:
        raise HttpError(status, "a header line is malformed")
    found = [(name.lower(), value.strip(b" \t")) for name, value in _FIELD.findall(head, start)]
    if len(found) > HEADERS_MAX:
        raise HttpError(431 if status == 400 else status, f"more than {HEADERS_MAX} headers")
    return found


def _request_fields(head: bytes, start: int) -> tuple[dict[bytes, bytes], set[bytes]]:
    fields: dict[bytes, bytes] = {}
    connection: set[bytes] = set()
    for name, value in _iterate_fields(head, start, status=400):
        if name in _SINGLE:
            if name in fields:
                raise HttpError(400, f"the header {name.decode()} is repeated")
            fields[name] = value
        elif name == b"connection":
            connection.update(_tokens(value))
    return fields, connection


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip(b" \t").lower() for token in value.split(b",")]


def _is_chunked(fields: Mapping[bytes, bytes]) -> bool:
    coding = fields.get(b"transfer-encoding")
    if coding is None:
        return False
    if coding.lower() != b"chunked":
        raise HttpError(501, "the only transfer coding served is chunked")
    return True


def _content_length(value: bytes | None) -> int | None:
    if value is None:
        return None
    if not value.isdigit() or len(value) > _LENGTH_DIGITS_MAX:
        raise HttpError(400, "Content-Length is not a plain number")
    return int(value)


def _expects_continue(value: bytes | None) -> bool:
    if value is None:
        return False
    if value.lower() != b"100-continue":
        raise HttpError(417, "the only expectation served is 100-continue")
    return True
