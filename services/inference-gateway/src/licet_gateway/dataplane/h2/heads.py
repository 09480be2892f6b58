"""Header blocks of the other side, decoded once: a client repeats the block of its last call to the byte."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Generic, TypeVar

from hpack import Decoder
from hpack.exceptions import HPACKError, OversizedHeaderListError

from licet_gateway.dataplane.h2.limits import HEADER_LIST_MAX
from licet_gateway.dataplane.h2.wire import Code, ConnectionFault

Fields = tuple[tuple[bytes, bytes], ...]
Parsed = TypeVar("Parsed")

# Blocks that are remembered, and how long they may be: 64 KiB a connection at most.
KNOWN_MAX: Final = 64
KNOWN_BLOCK_MAX: Final = 1024

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_VALUE: Final = re.compile(rb"[\0\r\n]|^[ \t]|[ \t]\Z")
_CONNECTION_FIELDS: Final = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)
_REQUEST_PSEUDO: Final = frozenset({b":method", b":scheme", b":authority", b":path"})


class MalformedError(ValueError):
    """A head that HTTP/2 forbids; it costs its stream (RFC 9113, section 8.1.1)."""


@dataclass(frozen=True, slots=True, eq=False)
class RequestHead2:
    """A request's head. The same object is given for the same fields of one connection, so that it can be a key."""

    method: bytes
    scheme: bytes
    authority: bytes
    path: bytes
    # Without pseudo-header fields; the values of a repeated one are joined by commas.
    fields: Mapping[bytes, bytes]
    content_length: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Trailers2:
    """What a client says behind its messages."""

    fields: Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True, eq=False)
class ResponseHead2:
    """A response's head or trailers; trailers have no status."""

    status: int | None
    fields: Mapping[bytes, bytes]


class HeadDecoder(Generic[Parsed]):
    """The other side's HPACK state, and what it made of the last blocks.

    A block that leaves the table as it was means the same until the table changes. A head that does not parse is
    remembered too.
    """

    __slots__ = ("_by_fields", "_decoder", "_known", "_parse", "_table")

    def __init__(self, parse: Callable[[Fields], Parsed]) -> None:
        self._parse = parse
        self._decoder = Decoder(max_header_list_size=HEADER_LIST_MAX)
        self._table = self._decoder.header_table
        # By block, good for the table as it is now; and by fields, good always.
        self._known: dict[bytes, Parsed | MalformedError] = {}
        self._by_fields: dict[Fields, Parsed | MalformedError] = {}

    def decode(self, block: bytes) -> Parsed | MalformedError:
        """Raises a ConnectionFault where the block cannot be read: the table is lost with it."""
        known = self._known.get(block)
        if known is not None:
            return known
        before = self._table_state()
        parsed = self._parse_once(self._read(block))
        if not self._table_is(before):
            self._known.clear()
        elif len(block) <= KNOWN_BLOCK_MAX:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[block] = parsed
        return parsed

    def _read(self, block: bytes) -> Fields:
        try:
            return tuple((bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True))
        except OversizedHeaderListError:
            raise ConnectionFault(
                Code.ENHANCE_YOUR_CALM, f"more than {HEADER_LIST_MAX} bytes of header fields"
            ) from None
        except HPACKError as error:
            raise ConnectionFault(Code.COMPRESSION_ERROR, str(error)) from None

    def _parse_once(self, fields: Fields) -> Parsed | MalformedError:
        known = self._by_fields.get(fields)
        if known is not None:
            return known
        parsed: Parsed | MalformedError
        try:
            parsed = self._parse(fields)
        except MalformedError as error:
            parsed = error
        if sum(len(name) + len(value) for name, value in fields) <= KNOWN_BLOCK_MAX:
            if len(self._by_fields) >= KNOWN_MAX:
                self._by_fields.clear()
            self._by_fields[fields] = parsed
        return parsed

    def _table_state(self) -> tuple[int, int, object]:
        entries = self._table.dynamic_entries
        return self._table.maxsize, len(entries), entries[0] if entries else None

    def _table_is(self, state: tuple[int, int, object]) -> bool:
        """What is added becomes the first entry, as a new object; what is only dropped changes how many there are."""
        size, count, first = self._table_state()
        return size == state[0] and count == state[1] and first is state[2]


def parse_request(fields: Fields) -> RequestHead2 | Trailers2:
    """A head, or trailers where nothing says what is asked for. Raises MalformedError (RFC 9113, 8.2 and 8.3)."""
    pseudo, regular = split_fields(fields)
    if not pseudo:
        return Trailers2(MappingProxyType(regular))
    if not pseudo.keys() <= _REQUEST_PSEUDO:
        raise MalformedError("an unknown pseudo-header field")
    if not (pseudo.get(b":method") and pseudo.get(b":scheme") and pseudo.get(b":path")):
        raise MalformedError("a pseudo-header field is missing")
    host = regular.get(b"host")
    authority = pseudo.get(b":authority", host or b"")
    if host is not None and host.lower() != authority.lower():
        raise MalformedError("host differs from :authority")
    return RequestHead2(
        pseudo[b":method"],
        pseudo[b":scheme"],
        authority,
        pseudo[b":path"],
        MappingProxyType(regular),
        _content_length(regular),
    )


def parse_response(fields: Fields) -> ResponseHead2:
    """A head or trailers. Raises MalformedError."""
    # A server of gRPC's C core ends messages with blanks, which RFC 9113 forbids and nobody needs.
    pseudo, regular = split_fields(tuple((name, value.strip(b" \t")) for name, value in fields))
    status = pseudo.pop(b":status", None)
    if pseudo:
        raise MalformedError("an unknown pseudo-header field")
    if status is not None and not (len(status) == 3 and status.isdigit()):
        raise MalformedError("a status that is no number")
    return ResponseHead2(None if status is None else int(status), MappingProxyType(regular))


def split_fields(fields: Fields) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    """Pseudo-header fields and the others. Raises MalformedError where a name, a value or the order is forbidden."""
    pseudo: dict[bytes, bytes] = {}
    regular: dict[bytes, bytes] = {}
    for name, value in fields:
        if _BAD_VALUE.search(value):
            raise MalformedError("a value with characters that are not allowed")
        if name[:1] == b":":
            if regular or name in pseudo:
                raise MalformedError("a pseudo-header field that comes late or twice")
            pseudo[name] = value
            continue
        _check_name(name, value)
        regular[name] = regular[name] + b"," + value if name in regular else value
    return pseudo, regular


def _check_name(name: bytes, value: bytes) -> None:
    if not _NAME.fullmatch(name):
        raise MalformedError("a name with characters that are not allowed")
    if name in _CONNECTION_FIELDS or (name == b"te" and value.lower() != b"trailers"):
        raise MalformedError("a field that is about a connection")


def _content_length(fields: Mapping[bytes, bytes]) -> int | None:
    value = fields.get(b"content-length")
    if value is None:
        return None
    if not value.isdigit() or len(value) > 18:
        raise MalformedError("a content-length that is no number")
    return int(value)
