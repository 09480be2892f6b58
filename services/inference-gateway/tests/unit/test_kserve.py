"""KServe's gRPC messages are read as the protobuf library reads them, or refused; nothing is read in two ways."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licet_gateway.dataplane import kserve
from licet_gateway.dataplane.grpc_call import units_of
from licet_gateway.dataplane.metering import NotMetered
from licet_gateway.domain import MeteringRule, TokenCaps
from tritonclient.grpc import service_pb2 as pb

NAMES = st.text(max_size=8)
SHAPES = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4)
RAW = st.binary(max_size=40)


@st.composite
def requests(draw: st.DrawFn) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(
        model_name=draw(NAMES),
        model_version=draw(NAMES),
        id=draw(NAMES),
        raw_input_contents=draw(st.lists(RAW)),
    )
    for name, shape in draw(st.lists(st.tuples(NAMES, SHAPES), max_size=4)):
        tensor = request.inputs.add(name=name, datatype="FP32", shape=shape)
        tensor.parameters["p"].int64_param = draw(st.integers(-5, 5))
        tensor.contents.fp32_contents.extend(draw(st.lists(st.floats(width=32), max_size=3)))
    for name in draw(st.lists(NAMES, max_size=3)):
        request.outputs.add(name=name).parameters["binary_data"].bool_param = True
    return request


def said(request: pb.ModelInferRequest) -> tuple[bytes, list[tuple[bytes, int | None]], list[bytes]]:
    """What the library makes of it."""
    inputs = [(t.name.encode(), t.shape[0] if t.shape else None) for t in request.inputs]
    return request.model_name.encode(), inputs, [t.name.encode() for t in request.outputs]


def read(message: bytes) -> tuple[bytes, list[tuple[bytes, int | None]], list[bytes]]:
    found = kserve.RequestReader().read(message)
    return found.model, list(found.inputs), list(found.outputs)


@given(requests())
def test_a_request_says_what_the_library_reads(request: pb.ModelInferRequest) -> None:
    assert read(request.SerializeToString()) == said(request)


@given(requests(), st.data())
def test_a_damaged_request_is_read_alike_or_refused(
    request: pb.ModelInferRequest, data: st.DataObject
) -> None:
    message = bytearray(request.SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(message)))
        piece = data.draw(st.binary(max_size=6))
        message[at : at + data.draw(st.integers(0, 3))] = piece
    try:
        expected = said(pb.ModelInferRequest.FromString(bytes(message)))
    except Exception:  # noqa: BLE001 - Triton's library refuses it too: it costs nothing
        return
    try:
        found = read(bytes(message))
    except kserve.Malformed:
        return
    assert found == expected


@given(requests(), st.text("abcdefgh.-", min_size=1, max_size=100))
def test_a_renamed_request_names_the_pinned_version_and_nothing_else_changes(
    request: pb.ModelInferRequest, name: str
) -> None:
    renamed = pb.ModelInferRequest.FromString(kserve.renamed(request.SerializeToString(), name.encode()))
    request.model_name, request.model_version = name, ""
    assert renamed.SerializeToString() == request.SerializeToString()


def tensor(fields: bytes) -> bytes:
    """A request with one input of these raw fields."""
    return b"\x2a" + bytes((len(fields),)) + fields


NAMED_X = b"\x0a\x01X"
THOUSAND_ROWS = b"\x1a\x03\xe8\x07\x04"


@pytest.mark.parametrize(
    "decoy",
    [
        b"\x1d\x01\0\0\0",  # the shape's number with the wire type of four bytes
        b"\x19\x01\0\0\0\0\0\0\0",  # and of eight
        b"\x08\x59",  # the name's number with that of a number: "Y"
    ],
)
def test_a_field_of_another_wire_type_is_unknown_as_it_is_to_the_library(decoy: bytes) -> None:
    message = tensor(NAMED_X + decoy + THOUSAND_ROWS)
    assert said(pb.ModelInferRequest.FromString(message))[1] == [(b"X", 1000)]
    assert read(message)[1] == [(b"X", 1000)]


def test_a_tag_that_some_readers_cut_to_32_bits_is_refused() -> None:
    """C++ takes `1a` and bit 32 for `1a`: rows that this gateway would not see."""
    hidden = b"\x9a\x80\x80\x80\x10\x03\xe8\x07\x04"
    with pytest.raises(kserve.Malformed):
        read(tensor(NAMED_X + hidden + b"\x1a\x01\x04"))


def test_a_message_of_too_many_fields_is_refused() -> None:
    """Each would cost sixty bytes of memory and a turn of the loop for two bytes that were sent."""
    with pytest.raises(kserve.Malformed):
        read(b"\x40\x00" * 100_000)


RESPONSES = st.lists(
    st.tuples(
        st.sampled_from(["input_tokens", "output_tokens", "text_output", "x"]),
        st.sampled_from(["INT32", "UINT32", "INT64", "UINT64"]),
        st.integers(0, 2**31 - 1),
    ),
    max_size=5,
    unique_by=lambda output: output[0],
)
FORMS = {"INT32": "<i", "UINT32": "<I", "INT64": "<q", "UINT64": "<Q"}
LISTS = {
    "INT32": "int_contents",
    "UINT32": "uint_contents",
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
}


@given(RESPONSES, st.booleans(), NAMES)
def test_tokens_are_the_element_of_the_named_output(
    outputs: list[tuple[str, str, int]], raw: bool, name: str
) -> None:
    response = pb.ModelInferResponse(model_name=name, id=name)
    for given_name, datatype, value in outputs:
        made = response.outputs.add(name=given_name, datatype=datatype, shape=[1])
        if raw:
            response.raw_output_contents.append(struct.pack(FORMS[datatype], value))
        else:
            getattr(made.contents, LISTS[datatype]).append(value)
    expected = {given_name: value for given_name, _, value in outputs}
    streamed = pb.ModelStreamInferResponse(infer_response=response).SerializeToString()
    place = kserve.read_stream_response(streamed)
    for wanted in ("input_tokens", "output_tokens"):
        assert kserve.tokens_of(response.SerializeToString(), wanted.encode()) == expected.get(wanted)
        got = kserve.tokens_of(streamed, wanted.encode(), place.start, place.end)
        assert got == expected.get(wanted)


@pytest.mark.parametrize("raw", [True, False])
def test_a_negative_count_is_none(raw: bool) -> None:
    response = pb.ModelInferResponse()
    made = response.outputs.add(name="output_tokens", datatype="INT32", shape=[1])
    if raw:
        response.raw_output_contents.append(struct.pack("<i", -5))
    else:
        made.contents.int_contents.append(-5)
    assert kserve.tokens_of(response.SerializeToString(), b"output_tokens") is None


def units(rule: str, request: pb.ModelInferRequest) -> int:
    parsed = MeteringRule.parse(rule)
    assert parsed is not None
    message = request.SerializeToString()
    return units_of(parsed, TokenCaps(100, 200), kserve.RequestReader().read(message), len(message), 60)


def test_every_rule_holds_its_bound() -> None:
    request = pb.ModelInferRequest(model_name="a.b")
    request.inputs.add(name="X", datatype="FP32", shape=[7, 4])
    size = request.ByteSize()
    held = {
        rule: units(rule, request)
        for rule in ("request", "rows:X", "bytes", "seconds", "input_tokens", "output_tokens")
    }
    assert held == {
        "request": 1,
        "rows:X": 7,
        "bytes": size,
        "seconds": 60,
        "input_tokens": min(100, size + 64),
        "output_tokens": 200,
    }


def test_a_call_that_leaves_out_the_count_is_refused() -> None:
    """Whoever asks for the text alone would be told no count to pay by."""
    request = pb.ModelInferRequest(model_name="a.b")
    request.outputs.add(name="text_output")
    with pytest.raises(NotMetered, match="output_tokens"):
        units("output_tokens", request)
    assert units("request", request) == 1
    request.outputs.add(name="output_tokens")
    assert units("output_tokens", request) == 200
