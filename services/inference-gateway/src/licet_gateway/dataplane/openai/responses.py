"""Reads tensors from the bytes of a `ModelInferResponse`, raw or typed, without parsing what is not asked for."""

from __future__ import annotations

import struct
from typing import Final

from licet_gateway.dataplane.openai.wire import BYTES, VARINT, Malformed, read_field, read_varint, signed32

# Fields of inference.ModelInferResponse, its InferOutputTensor and InferTensorContents.
_OUTPUTS, _RAW = 5, 6
_NAME, _SHAPE, _CONTENTS = 1, 3, 5
_NAME_TAG: Final = _NAME << 3 | BYTES
_INTS, _FLOATS, _TEXTS = 2, 6, 8
_SIZE: Final = struct.Struct("<I")
_INT32: Final = struct.Struct("<i")

Span = tuple[int, int]


class Outputs:
    """Where the outputs of one response lie in its bytes."""

    __slots__ = ("_buffer", "_raw", "_tensors")

    def __init__(self, buffer: bytes, begin: int = 0, end: int | None = None) -> None:
        """Raises Malformed."""
        self._buffer = buffer
        self._tensors: dict[bytes, tuple[int, Span]] = {}
        self._raw: list[Span] = []
        at, end = begin, len(buffer) if end is None else end
        while at < end:
            number, begin, at = _next(buffer, at, end)
            if number == _RAW:
                self._raw.append((begin, at))
            elif number == _OUTPUTS:
                name = self._name(begin, at)
                self._tensors.setdefault(name, (len(self._tensors), (begin, at)))

    def ints(self, name: bytes) -> list[int] | None:
        """The values of an INT32 output; None where there is no such output."""
        if (found := self._find(name)) is None:
            return None
        index, span = found
        if self._raw:
            begin, end = self._raw_of(index)
            if end - begin == _INT32.size:
                return [_INT32.unpack_from(self._buffer, begin)[0]]
            if (end - begin) % 4:
                raise Malformed(f"{name!r} is no INT32 tensor")
            return [value for (value,) in _INT32.iter_unpack(self._buffer[begin:end])]
        return self._typed_ints(span)

    def texts(self, name: bytes) -> list[bytes] | None:
        """The values of a BYTES output; None where there is no such output."""
        if (found := self._find(name)) is None:
            return None
        index, span = found
        if not self._raw:
            return [self._buffer[b:e] for number, b, e in self._contents(span) if number == _TEXTS]
        begin, end = self._raw_of(index)
        out = []
        while begin < end:
            if begin + _SIZE.size > end:
                raise Malformed(f"{name!r} is cut off")
            (size,) = _SIZE.unpack_from(self._buffer, begin)
            begin += _SIZE.size
            if begin + size > end:
                raise Malformed(f"{name!r} is cut off")
            out.append(self._buffer[begin : begin + size])
            begin += size
        return out

    def floats(self, name: bytes) -> bytes | None:
        """The values of an FP32 output as little-endian bytes; None where there is no such output."""
        if (found := self._find(name)) is None:
            return None
        index, span = found
        if self._raw:
            begin, end = self._raw_of(index)
            return self._buffer[begin:end]
        return b"".join(self._buffer[b:e] for number, b, e in self._contents(span) if number == _FLOATS)

    def shape(self, name: bytes) -> list[int]:
        """The shape of an output; empty where there is no such output."""
        if (found := self._find(name)) is None:
            return []
        out: list[int] = []
        _, (at, end) = found
        while at < end:
            number, kind, begin, at, value = read_field(self._buffer, at, end)
            if number == _SHAPE:
                out += [value] if kind == VARINT else self._packed(begin, at)
        return out

    def _find(self, name: bytes) -> tuple[int, Span] | None:
        return self._tensors.get(name)

    def _raw_of(self, index: int) -> Span:
        if index >= len(self._raw):
            raise Malformed("fewer raw contents than outputs")
        return self._raw[index]

    def _name(self, at: int, end: int) -> bytes:
        buffer = self._buffer
        if (
            at + 1 < end
            and buffer[at] == _NAME_TAG
            and at + 2 + buffer[at + 1] <= end
            and buffer[at + 1] < 0x80
        ):
            return buffer[at + 2 : at + 2 + buffer[at + 1]]
        name = b""
        while at < end:
            number, kind, begin, at, _ = read_field(self._buffer, at, end)
            if number == _NAME and kind == BYTES:
                name = self._buffer[begin:at]
                # It comes first from every encoder; a repeated one is nobody's.
                break
        return name

    def _contents(self, span: Span) -> list[tuple[int, int, int]]:
        """Number, begin and end of every length-delimited field of a tensor's contents."""
        out = []
        for begin, end in self._messages(span, _CONTENTS):
            at = begin
            while at < end:
                number, kind, value_at, at, _ = read_field(self._buffer, at, end)
                if kind == BYTES:
                    out.append((number, value_at, at))
        return out

    def _messages(self, span: Span, wanted: int) -> list[Span]:
        at, end = span
        out = []
        while at < end:
            number, kind, begin, at, _ = read_field(self._buffer, at, end)
            if number == wanted and kind == BYTES:
                out.append((begin, at))
        return out

    def _typed_ints(self, span: Span) -> list[int]:
        out: list[int] = []
        for begin, end in self._messages(span, _CONTENTS):
            at = begin
            while at < end:
                number, kind, value_at, at, value = read_field(self._buffer, at, end)
                if number == _INTS:
                    values = [value] if kind == VARINT else self._packed(value_at, at)
                    out += [signed32(v) for v in values]
        return out

    def _packed(self, at: int, end: int) -> list[int]:
        out = []
        while at < end:
            value, at = read_varint(self._buffer, at)
            out.append(value)
        if at != end:
            raise Malformed("numbers reach beyond their field")
        return out


def _next(buffer: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Number, begin and end of the next length-delimited field; number 0 for what is none.

    A short one of a low number, which nearly all are, is read without further calls: there are eight a response.
    """
    if at + 1 < end and (size := buffer[at + 1]) < 0x80 and (tag := buffer[at]) < 0x80 and tag & 7 == BYTES:
        after = at + 2 + size
        if after > end:
            raise Malformed("a field reaches beyond its message")
        return tag >> 3, at + 2, after
    number, kind, begin, after, _ = read_field(buffer, at, end)
    return (number if kind == BYTES else 0), begin, after


def stream_parts(body: bytes) -> tuple[str, Span | None]:
    """Error text and the place of the response in a `ModelStreamInferResponse`; raises Malformed."""
    at, end = 0, len(body)
    error, response = "", None
    while at < end:
        number, kind, begin, at, _ = read_field(body, at, end)
        if kind == BYTES and number == 1:
            error = body[begin:at].decode(errors="replace")
        elif kind == BYTES and number == 2:
            response = (begin, at)
    return error, response
