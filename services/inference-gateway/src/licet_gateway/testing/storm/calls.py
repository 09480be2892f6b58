"""The calls of a storm: each has a number, which the model writes down, and can be made again from it."""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass

import numpy as np
from tritonclient.grpc import service_pb2 as kserve

from licet_gateway.dataplane.h2.messages import frame
from licet_gateway.testing import bodies
from licet_gateway.testing.loaded import LoadedModel
from licet_gateway.testing.scene import Scene

ROWS_MAX = 4
TOKENS_MAX = 9
# Responses of one token and of two: what a held stream has given before it waits.
HELD_RESPONSES = 2
HELD_TOKENS = 3
_CONTROL = '{"n":%8d,"sleep_ms":0,"fails":false,"waits_after":%d}'
_MARK = 99999999


class Way(enum.Enum):
    """How a call is made."""

    HTTP = "HTTP"
    STREAM = "stream"
    GRPC = "gRPC"


class Fate(enum.Enum):
    """What became of it, as its client knows."""

    WHOLE = "whole"
    REFUSED = "refused"
    CUT = "cut"
    LOST = "lost"
    LEFT_BODY = "left in its body"
    LEFT_WAITING = "left before its answer"
    LEFT_ANSWER = "left in its answer"


@dataclass(slots=True)
class Told:
    """One call, and what its client was told."""

    number: int
    way: Way
    # Rows, or tokens: what the whole answer costs.
    units: int
    account: Scene
    begun_s: float
    # Whether no process had been killed when it ended.
    calm: bool = True
    held: bool = False
    fate: Fate = Fate.LOST
    status: int = 0
    request_id: str = ""
    # Tokens of a stream that arrived.
    taken: int = 0
    # When its answer began.
    answered_s: float = 0.0

    @property
    def kind(self) -> str:
        return "counted-stream" if self.way is Way.STREAM else "counted"

    def commits_to(self, name: str) -> bytes:
        """The request commitment of its record, if it had this name."""
        model = self.account.models[self.kind]
        sent = frame(grpc_message(self, model)) if self.way is Way.GRPC else http_body(self)
        return hashlib.sha256(name.encode() + sent).digest()


def _tensors(rows: int) -> dict[str, tuple[str, object]]:
    return {
        "CALL": ("BYTES", np.array([(_CONTROL % (_MARK, 0)).encode()], dtype=object)),
        "X": ("FP32", np.zeros((rows, 4), dtype=np.float32)),
    }


TEMPLATES = {rows: bodies.inputs(_tensors(rows), binary=True) for rows in range(1, ROWS_MAX + 1)}


def http_body(told: Told) -> bytes:
    """The body of an HTTP call."""
    if told.way is Way.STREAM:
        control = _CONTROL % (told.number, HELD_RESPONSES if told.held else 0)
        text = control.replace('"', '\\"')
        return f'{{"CALL":"{text}","text_input":"a b","max_tokens":{told.units}}}'.encode()
    return TEMPLATES[told.units].data.replace(b"%8d" % _MARK, b"%8d" % told.number)


def http_request(told: Told) -> bytes:
    """The whole request of an HTTP call."""
    body = http_body(told)
    streams = told.way is Way.STREAM
    headers = {"Content-Type": "application/json"} if streams else TEMPLATES[told.units].headers
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers | told.account.key.header).items())
    operation = "generate_stream" if streams else "infer"
    path = f"/v2/models/{told.account.models[told.kind].public_name}/{operation}"
    head = f"POST {path} HTTP/1.1\r\nHost: storm\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
    return head.encode() + body


_messages: dict[tuple[str, int], bytes] = {}


def grpc_message(told: Told, model: LoadedModel) -> bytes:
    """The message of a gRPC call."""
    made = _messages.get((model.public_name, told.units))
    if made is None:
        request = kserve.ModelInferRequest(model_name=model.public_name)
        control = (_CONTROL % (_MARK, 0)).encode()
        request.inputs.add(name="CALL", datatype="BYTES", shape=[1])
        request.raw_input_contents.append(len(control).to_bytes(4, "little") + control)
        request.inputs.add(name="X", datatype="FP32", shape=[told.units, 4])
        request.raw_input_contents.append(bytes(16 * told.units))
        made = _messages[model.public_name, told.units] = request.SerializeToString()
    return made.replace(b"%8d" % _MARK, b"%8d" % told.number)
