"""KServe's gRPC messages, read by their wire format (Protocol Buffers encoding) as far as a call needs it.

Tensors are skipped unread. What is read: the model's name, the first dimension of each input, and of an answer its
error and the tokens that the platform's runner counts.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from licet_gateway.dataplane.metering import NotMetered

# Longest beginning of a message that is remembered with what it says.
PREFIX_MAX: Final = 4096
# Fields that a message may have, and a tensor's description in it: each is kept while the message is read.
FIELDS_MAX: Final = 4096
TENSOR_FIELDS_MAX: Final = 256
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Whole tags, number and wire type: with another wire type a field is one that nobody knows.
_NAME, _INPUTS, _ASKED_OUTPUTS, _RAW_INPUTS = 0x0A, 0x2A, 0x32, 0x3A
_ERROR, _INFER_RESPONSE = 0x0A, 0x12
_OUTPUTS, _RAW_OUTPUTS = 0x2A, 0x32
_TENSOR_NAME, _TENSOR_TYPE, _TENSOR_CONTENTS = 0x0A, 0x12, 0x2A
# A list of numbers comes packed, or as one field a number.
_TENSOR_SHAPE: Final = frozenset({0x1A, 0x18})
# Lists of whole numbers of InferTensorContents: int_contents, int64_contents, uint_contents, uint64_contents.
_CONTENTS: Final = frozenset({0x12, 0x10, 0x1A, 0x18, 0x22, 0x20, 0x2A, 0x28})
_TAG_MAX: Final = 1 << 32
_TAG_BYTES_MAX: Final = 5
_RAW_INTEGERS: Final = {b"INT32": "<i", b"UINT32": "<I", b"INT64": "<q", b"UINT64": "<Q"}


class Malformed(NotMetered):
    """The bytes are not the message that they should be."""

    def __init__(self) -> None:
        super().__init__("the request is not a ModelInferRequest")


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What a ModelInferRequest says of itself; `inputs` are name and first dimension, None without a shape.

    `outputs` are the names of those that it asks for, none where it wants all.
    """

    model: bytes
    inputs: tuple[tuple[bytes, int | None], ...]
    outputs: tuple[bytes, ...] = ()

    def rows(self, name: str) -> int:
        """The first dimension of an input. Raises NotMetered where it does not stand there once."""
        found = [rows for given, rows in self.inputs if given == name.encode()]
        if len(found) != 1:
            raise NotMetered(
                f'the input "{name}" is given {len(found)} times'
                if found
                else f'the input "{name}", by whose rows this model is metered, is missing'
            )
        if found[0] is None:
            raise NotMetered(f'the input "{name}" has no shape')
        return found[0]

    def check_asks_for(self, name: str) -> None:
        """Raises NotMetered where the output `name` would be left out of the answer."""
        if self.outputs and name.encode() not in self.outputs:
            raise NotMetered(
                f'this model is metered by its output "{name}": ask for that too, or name no outputs'
            )


class RequestReader:
    """Reads requests of one connection. A client repeats all but its tensors' bytes, so that much is compared first."""

    __slots__ = ("_known", "_known_prefix", "_known_size")

    def __init__(self) -> None:
        self._known = InferRequest(b"", ())
        self._known_prefix = b""
        self._known_size = -1

    def read(self, message: bytes) -> InferRequest:
        """Raises Malformed."""
        if len(message) == self._known_size and message.startswith(self._known_prefix):
            return self._known
        request, opaque_at = _read_request(message)
        if 0 < opaque_at <= PREFIX_MAX:
            self._known, self._known_prefix, self._known_size = request, message[:opaque_at], len(message)
        return request


def name_of(message: bytes) -> bytes:
    """The name in a ModelReadyRequest or a ModelMetadataRequest. Raises Malformed."""
    name = b""
    for tag, start, end in _fields(message, 0, len(message)):
        if tag == _NAME:
            name = message[start:end]
    return name


def renamed(message: bytes, name: bytes) -> bytes:
    """The request for the model `name` in its only version: of a field that stands twice the last one holds."""
    return b"%s\x0a%c%s\x12\x00" % (message, len(name), name)


def _read_request(message: bytes) -> tuple[InferRequest, int]:
    """The request, and where the bytes of its last field begin if they are a tensor's that end the message; else 0."""
    model, inputs, outputs, opaque_at = b"", [], [], 0
    for tag, start, end in _fields(message, 0, len(message)):
        opaque_at = 0
        if tag == _INPUTS:
            inputs.append(_read_input(message, start, end))
        elif tag == _NAME:
            model = message[start:end]
        elif tag == _ASKED_OUTPUTS:
            outputs.append(_name_in(message, start, end))
        elif tag == _RAW_INPUTS and end == len(message):
            opaque_at = start
    return InferRequest(model, tuple(inputs), tuple(outputs)), opaque_at


def _read_input(message: bytes, start: int, end: int) -> tuple[bytes, int | None]:
    name, rows = b"", None
    for tag, at, stop in _fields(message, start, end, TENSOR_FIELDS_MAX):
        if tag == _TENSOR_NAME:
            name = message[at:stop]
        elif tag in _TENSOR_SHAPE and rows is None and stop > at:
            rows = _varint(message, at, stop)[0]
    # A dimension is signed; a negative one is written as the largest numbers.
    return name, rows if rows is None or rows < 1 << 63 else rows - (1 << 64)


def _name_in(message: bytes, start: int, end: int) -> bytes:
    name = b""
    for tag, at, stop in _fields(message, start, end, TENSOR_FIELDS_MAX):
        if tag == _TENSOR_NAME:
            name = message[at:stop]
    return name


@dataclass(frozen=True, slots=True)
class StreamResponse:
    """A ModelStreamInferResponse: whether it is an error, and where its answer stands."""

    is_error: bool
    start: int
    end: int


def read_stream_response(message: bytes) -> StreamResponse:
    """Raises Malformed."""
    is_error, place = False, (0, 0)
    for tag, start, end in _fields(message, 0, len(message)):
        if tag == _ERROR:
            is_error = end > start
        elif tag == _INFER_RESPONSE:
            place = (start, end)
    return StreamResponse(is_error, *place)


def has_outputs(message: bytes, start: int, end: int) -> bool:
    """Whether a ModelInferResponse gives anything; the last of a stream may only say that it is the last."""
    return any(tag == _OUTPUTS for tag, _, _ in _fields(message, start, end))


def tokens_of(message: bytes, name: bytes, start: int = 0, end: int | None = None) -> int | None:
    """The only element of the output `name` of a ModelInferResponse; None where there is none, or one that is no count.

    Raises Malformed.
    """
    outputs: list[tuple[bytes, bytes, int | None]] = []
    raw: list[tuple[int, int]] = []
    for tag, at, stop in _fields(message, start, len(message) if end is None else end):
        if tag == _OUTPUTS:
            outputs.append(_read_output(message, at, stop))
        elif tag == _RAW_OUTPUTS:
            raw.append((at, stop))
    # Raw bytes belong to the outputs in their order, for all of them or for none.
    for index, (given, datatype, typed) in enumerate(outputs):
        if given == name:
            form = _RAW_INTEGERS.get(datatype)
            at, stop = raw[index] if index < len(raw) else (0, 0)
            tokens = _raw_integer(message, at, stop, form) if raw and form is not None else typed
            # A negative number that is written as the largest ones.
            return tokens if tokens is not None and 0 <= tokens < 1 << 63 else None
    return None


def _raw_integer(message: bytes, at: int, stop: int, form: str) -> int | None:
    return int(struct.unpack_from(form, message, at)[0]) if stop - at >= struct.calcsize(form) else None


def _read_output(message: bytes, start: int, end: int) -> tuple[bytes, bytes, int | None]:
    name = datatype = b""
    typed: int | None = None
    for tag, at, stop in _fields(message, start, end):
        if tag == _TENSOR_NAME:
            name = message[at:stop]
        elif tag == _TENSOR_TYPE:
            datatype = message[at:stop]
        elif tag == _TENSOR_CONTENTS:
            for kind, first, behind in _fields(message, at, stop):
                if kind in _CONTENTS and behind > first:
                    typed = _varint(message, first, behind)[0]
    return name, datatype, typed


def _fields(message: bytes, at: int, end: int, most: int = FIELDS_MAX) -> list[tuple[int, int, int]]:
    """Tag, beginning and end of each field's value. Raises Malformed."""
    found: list[tuple[int, int, int]] = []
    while at < end:
        tag = message[at]
        at += 1
        if tag >= 0x80:
            tag, at = _long_tag(message, at - 1, end)
        kind = tag & 7
        if kind == _BYTES:
            size = message[at] if at < end else 0x80
            at += 1
            if size >= 0x80:
                size, at = _varint(message, at - 1, end)
            stop = at + size
        elif kind == _VARINT:
            stop = _varint(message, at, end)[1]
        elif kind in (_FIXED64, _FIXED32):
            stop = at + (8 if kind == _FIXED64 else 4)
        else:
            raise Malformed
        if stop > end or tag < 8 or len(found) >= most:
            raise Malformed
        found.append((tag, at, stop))
        at = stop
    return found


def _long_tag(message: bytes, at: int, end: int) -> tuple[int, int]:
    """A tag of more than one byte and where it ends. Raises Malformed: of a tag of more than 32 bits, which have five
    bytes at most, some readers take the lower ones, and it would be another field to Triton."""
    tag, behind = _varint(message, at, end)
    if tag >= _TAG_MAX or behind - at > _TAG_BYTES_MAX:
        raise Malformed
    return tag, behind


def _varint(message: bytes, at: int, end: int) -> tuple[int, int]:
    """A number and where it ends. Raises Malformed."""
    value = shift = 0
    while at < end and shift < 70:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
    raise Malformed
