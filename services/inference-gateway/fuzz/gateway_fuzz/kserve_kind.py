"""ModelInferRequest: what the gateway reads by hand must be what protobuf's own library reads, or be refused."""

from __future__ import annotations

from random import Random
from typing import Final

from google.protobuf.message import DecodeError
from licet_gateway.dataplane import kserve
from licet_gateway.dataplane.metering import NotMetered
from tritonclient.grpc import service_pb2

from gateway_fuzz.engine import Case, WrongError
from gateway_fuzz.mutation import mutated

PINNED: Final = b"acme.risk-5a5a5a5a5a5a5a5a"
WORDS: Final = (
    *(b"\x0a\x01X", b"\x1a\x01\x01", b"\x18\x01", b"\x19\x01\0\0\0\0\0\0\0", b"\x1d\x01\0\0\0", b"\x08\x59"),
    *(
        b"\x2a\x08\x0a\x01X\x1a\x01\x01",
        b"\x29\x0a\x01X\x1a\x01\x01\x10\x00",
        b"\x0a\x09acme.risk",
        b"\x09acme.bad",
    ),
    *(
        b"\x3a\x04\0\0\0\0",
        b"\x32\0",
        b"\x13\x14",
        b"\x0b",
        b"\x0c",
        b"\x8a\0\x01Y",
        b"\x8a\x80\x80\x80\x10\x01Y",
    ),
    *(
        b"\x0a\x81\0Y",
        b"\xff" * 9 + b"\x01",
        b"\xff" * 10 + b"\x01",
        b"\x80" * 9 + b"\0",
        b"\x0a\xff\xff\xff\xff\x0f",
    ),
    *(
        b"\x1a\x0a" + b"\xff" * 9 + b"\x01",
        b"\x1a\0",
        b"\xf8\x3f\x01",
        b"\xfa\x3f\x02ab",
        b"\x12\x011",
        b"\0",
        b"\x07",
    ),
)

_MODELS: Final = (*("acme.risk",) * 5, *("acme.echo",) * 4, *("acme.bulk",) * 2, "acme.none", "", "x" * 200)


def request(rng: Random) -> bytes:
    """A message of Triton's own classes."""
    made = service_pb2.ModelInferRequest(model_name=rng.choice(_MODELS))
    if rng.random() < 0.3:
        made.model_version, made.id = "1", "call"
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        tensor = made.inputs.add(name=rng.choice(("X", "X", "Y", "", "X" * 130)), datatype="FP32")
        tensor.shape.extend(rng.choice((1, 2, 300, -1, 0, 2**62)) for _ in range(rng.choice((0, 1, 2, 4))))
        if rng.random() < 0.3:
            tensor.contents.fp32_contents.extend((1.0, 2.0))
        if rng.random() < 0.2:
            tensor.parameters["binary_data_size"].int64_param = 8
    if rng.random() < 0.6:
        made.raw_input_contents.append(rng.randbytes(rng.choice((0, 4, 16, 200))))
    return bytes(made.SerializeToString())


class KserveKind:
    """Of one message."""

    name = "kserve"

    def make(self, rng: Random) -> Case:
        return (mutated(request(rng), rng, WORDS),)

    def close(self) -> None:
        """It stands on nothing."""

    def check(self, case: Case) -> None:
        data = b"".join(case)
        reader = kserve.RequestReader()
        try:
            ours = reader.read(data)
        except NotMetered:
            return
        if reader.read(data) != ours:
            raise WrongError("what is remembered is not what was read")
        try:
            theirs = service_pb2.ModelInferRequest.FromString(data)
        except DecodeError:
            # Triton refuses it, which costs nothing.
            return
        if ours.model != theirs.model_name.encode():
            raise WrongError(f"another model: we read {ours.model!r}, protobuf {theirs.model_name!r}")
        inputs = tuple((t.name.encode(), t.shape[0] if t.shape else None) for t in theirs.inputs)
        if ours.inputs != inputs:
            raise WrongError(f"other inputs: we read {ours.inputs}, protobuf {inputs}")
        self._check_renamed(data, theirs)

    @staticmethod
    def _check_renamed(data: bytes, meant: service_pb2.ModelInferRequest) -> None:
        sent = service_pb2.ModelInferRequest.FromString(kserve.renamed(data, PINNED))
        meant.model_name, meant.model_version = PINNED.decode(), ""
        # As bytes, because a tensor may hold what is not equal to itself.
        if sent.SerializeToString(deterministic=True) != meant.SerializeToString(deterministic=True):
            raise WrongError("another message: more than its model was renamed")
