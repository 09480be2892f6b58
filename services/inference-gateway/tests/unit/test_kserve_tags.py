"""A request is read as protobuf reads it: a field of another wire type, or with an overlong tag, states nothing."""

from __future__ import annotations

import pytest
from licet_gateway.dataplane.kserve import Malformed, RequestReader, name_of
from tritonclient.grpc import service_pb2

# The real input: field 5, name "X", a thousand rows.
NAME, ROWS = b"\x0a\x01X", b"\x1a\x02\xe8\x07"
REAL = NAME + ROWS
MODEL = b"\x0a\x09acme.risk"


def tensor(fields: bytes) -> bytes:
    return b"\x2a%c%s" % (len(fields), fields)


@pytest.mark.parametrize(
    "decoy",
    [
        # Its name once more, as a number: who takes that for a name counts the rows of nobody.
        tensor(REAL + b"\x08Y") + b"\x29\x0a\x01X\x1a\x01\x01\x10\x00",
        tensor(b"\x19\x01\0\0\0\0\0\0\0" + REAL),
        tensor(b"\x1d\x01\0\0\0" + REAL),
        b"\x28\x01" + tensor(REAL),
        b"\x29\x0a\x01Y\x1a\x01\x01\x10\x00" + tensor(REAL),
    ],
)
def test_a_field_of_another_wire_type_is_not_what_it_seems(decoy: bytes) -> None:
    message = MODEL + decoy
    theirs = service_pb2.ModelInferRequest.FromString(message)
    assert [(t.name, list(t.shape)) for t in theirs.inputs] == [("X", [1000])]
    assert RequestReader().read(message).rows("X") == 1000


def test_a_model_is_named_by_text_alone() -> None:
    message = MODEL + b"\x09acme.bad" + tensor(REAL)
    assert RequestReader().read(message).model == b"acme.risk"
    assert name_of(MODEL + b"\x09acme.bad") == b"acme.risk"


def test_rows_are_read_packed_or_not() -> None:
    for shape in (ROWS, b"\x18\xe8\x07", b"\x1a\0\x18\xe8\x07", b"\x18\xe8\x07\x1a\x01\x02"):
        assert RequestReader().read(MODEL + tensor(NAME + shape)).rows("X") == 1000


@pytest.mark.parametrize("tag", [b"\x9a\x80\x80\x80\x10", b"\x9a\x80\x80\x80\x80\0"])
def test_a_tag_beyond_32_bits_is_refused(tag: bytes) -> None:
    # Protobuf in C++ drops the bits above: the shape [1000] would stand before the one that is read here.
    with pytest.raises(Malformed):
        RequestReader().read(MODEL + tensor(NAME + tag + b"\x02\xe8\x07" + b"\x1a\x01\x01"))
