"""gRPC messages in a stream of bytes: one flag byte, four bytes of length, the message."""

from __future__ import annotations

import struct
from typing import Final

_PREFIX: Final = struct.Struct(">BI")
PREFIX_SIZE: Final = 5
# gRPC status codes of what can be wrong with a message.
RESOURCE_EXHAUSTED: Final = 8
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13


class MessageError(Exception):
    """What came is no message that is taken here; `status` is the gRPC status to answer with."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def frame(message: bytes) -> bytes:
    """The message as it goes over the wire, uncompressed."""
    return _PREFIX.pack(0, len(message)) + message


def size_in(prefix: bytes) -> int:
    """Bytes of the message that begins so, with its prefix; 0 where that is not there."""
    return 0 if len(prefix) < PREFIX_SIZE else PREFIX_SIZE + int(_PREFIX.unpack_from(prefix)[1])


class MessageReader:
    """Cuts a stream into messages. A compressed message and one above `max_size` are refused by their first bytes."""

    __slots__ = ("_held", "_max_size", "_needed", "_size")

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._held: list[bytes] = []
        self._size = 0
        # Bytes that must be there before anything can be told: a prefix, or a prefix with its message.
        self._needed = PREFIX_SIZE

    @property
    def held(self) -> int:
        """Bytes of a message that has not come whole."""
        return self._size

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that became whole, in order."""
        if self._size + len(data) < self._needed:
            self._hold(data)
            return []
        if self._held:
            self._held.append(data)
            data = b"".join(self._held)
            self._held.clear()
            self._size = 0
        return self._cut(data)

    def _cut(self, data: bytes) -> list[bytes]:
        messages: list[bytes] = []
        at, size = 0, len(data)
        self._needed = PREFIX_SIZE
        while size - at >= PREFIX_SIZE:
            flag, length = _PREFIX.unpack_from(data, at)
            if flag or length > self._max_size:
                raise self._refusal(flag, length)
            end = at + PREFIX_SIZE + length
            if end > size:
                self._needed = PREFIX_SIZE + length
                break
            messages.append(data[at + PREFIX_SIZE : end])
            at = end
        if at < size:
            self._hold(data[at:])
        return messages

    def _hold(self, data: bytes) -> None:
        if data:
            self._held.append(data)
            self._size += len(data)

    def _refusal(self, flag: int, length: int) -> MessageError:
        if flag == 1:
            return MessageError(UNIMPLEMENTED, "compressed messages are not taken")
        if flag:
            return MessageError(INTERNAL, "not a gRPC message")
        return MessageError(
            RESOURCE_EXHAUSTED, f"a message of {length} bytes, where {self._max_size} are allowed"
        )
