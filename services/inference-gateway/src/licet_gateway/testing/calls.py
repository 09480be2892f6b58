"""Generated calls of the counted models: by every protocol, some that fail, some that are left in the middle."""

from __future__ import annotations

import enum
import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2 as kserve

from licet_gateway.dataplane.h2.messages import frame
from licet_gateway.testing import bodies

TOKENS_MAX = 40
ROWS_MAX = 9


class Way(enum.Enum):
    """How a call is made."""

    HTTP_JSON = "infer, JSON"
    HTTP_BINARY = "infer, binary"
    GENERATE = "generate"
    GENERATE_STREAM = "generate_stream"
    GRPC = "gRPC"
    GRPC_STREAM = "gRPC stream"

    @property
    def streams(self) -> bool:
        return self in (Way.GENERATE_STREAM, Way.GRPC_STREAM)

    @property
    def over_grpc(self) -> bool:
        return self in (Way.GRPC, Way.GRPC_STREAM)


# Rows stand in tensors' shapes, which generate routes do not state.
WAYS_BY_ROWS = (Way.HTTP_JSON, Way.HTTP_BINARY, Way.GRPC, Way.GRPC_STREAM)


@dataclass(slots=True)
class Call:
    """One call, and what its client knows of it afterwards."""

    number: int
    way: Way
    rows: int
    text: str
    tokens: int
    sleep_ms: int
    fails: bool
    # Responses of a stream that its client takes before it leaves; 0 of another call: before its answer.
    leaves_after: int | None
    # What was sent: the body, or the message.
    sent: bytes = b""
    request_id: str = ""
    answered: bool = False
    took_ns: int = 0

    @property
    def kind(self) -> str:
        return "counted-stream" if self.way.streams else "counted"

    @property
    def control(self) -> str:
        waits = self.leaves_after or 0
        return json.dumps(
            {"n": self.number, "sleep_ms": self.sleep_ms, "fails": self.fails, "waits_after": waits}
        )

    def commits_to(self, request_id: str) -> bytes:
        """The request commitment of its record, if it had this name."""
        return hashlib.sha256(
            request_id.encode() + (frame(self.sent) if self.way.over_grpc else self.sent)
        ).digest()


def generated(count: int, rule: str, *, seed: int, first: int = 0) -> list[Call]:
    """So many calls for a rule, numbered from `first`; the same for the same seed and rule."""
    chance = random.Random(f"{seed} {rule}")  # noqa: S311 - repeatable, and no secret
    ways = WAYS_BY_ROWS if rule.startswith("rows") else tuple(Way)
    return [_one(number, chance.choice(ways), rule, chance) for number in range(first, first + count)]


def _one(number: int, way: Way, rule: str, chance: random.Random) -> Call:
    fails = chance.random() < 0.03
    leaves = not fails and chance.random() < (0.12 if way.streams else 0.04)
    tokens = chance.randint(4, TOKENS_MAX)
    call = Call(
        number=number,
        way=way,
        rows=chance.randint(1, ROWS_MAX),
        text=" ".join(
            chance.choice(("a", "word", "Straße", '"quoted"', "\n")) for _ in range(chance.randint(1, 30))
        ),
        tokens=tokens,
        # Longer than a second where seconds are counted, now and then.
        sleep_ms=1250 if rule == "seconds" and chance.random() < 0.01 else 0,
        fails=fails,
        leaves_after=None,
    )
    if leaves and way.streams:
        # The model never has fewer responses than two thirds of its tokens.
        call.leaves_after = chance.randint(1, tokens // 2)
    elif leaves:
        call.leaves_after, call.sleep_ms = 0, max(call.sleep_ms, 100)
    return call


def http_body(call: Call) -> bodies.Body:
    """The body of an HTTP call and its headers."""
    if call.way in (Way.GENERATE, Way.GENERATE_STREAM):
        said = {"CALL": call.control, "text_input": call.text, "max_tokens": call.tokens}
        return bodies.Body(json.dumps(said).encode(), {"Content-Type": "application/json"})
    binary = call.way is Way.HTTP_BINARY
    return bodies.inputs(_tensors(call), binary=binary)


def grpc_message(call: Call, name: str) -> kserve.ModelInferRequest:
    """The message of a gRPC call."""
    request = kserve.ModelInferRequest(model_name=name)
    for given, (datatype, values) in _tensors(call).items():
        request.inputs.add(name=given, datatype=datatype, shape=values.shape)
        if datatype == "BYTES":
            text = values[0]
            request.raw_input_contents.append(len(text).to_bytes(4, "little") + text)
        else:
            request.raw_input_contents.append(values.tobytes())
    return request


def _tensors(call: Call) -> dict[str, tuple[str, Any]]:
    return {
        "CALL": ("BYTES", np.array([call.control.encode()], dtype=object)),
        "X": ("FP32", np.ones((call.rows, 4), dtype=np.float32)),
        "text_input": ("BYTES", np.array([call.text.encode()], dtype=object)),
        "max_tokens": ("INT32", np.array([call.tokens], dtype=np.int32)),
    }


@dataclass(slots=True)
class Seen:
    """What a model wrote down of one call."""

    rows: int = 0
    read: int = 0
    text_bytes: int = 0
    sent: list[int] = field(default_factory=list)
    failed: bool = False
    ns: int = 0
    # When the model was reached, each time, on the machine's monotonic clock.
    at: list[float] = field(default_factory=list)


def model_log(folders: Iterable[Path]) -> dict[int, Seen]:
    """All that the counted models in these folders have written down, by the number of the call."""
    found: dict[int, Seen] = defaultdict(Seen)
    for folder in folders:
        for path in (folder / "1").glob("log-*"):
            for line in path.read_text().splitlines():
                _note(found, json.loads(line))
    return dict(found)


def _note(found: dict[int, Seen], said: dict[str, Any]) -> None:
    seen = found[said["n"]]
    if "rows" in said:
        seen.rows, seen.read, seen.text_bytes = said["rows"], said["read"], said["text_bytes"]
        seen.at.append(said["at"])
    elif "sent" in said:
        seen.sent.append(said["sent"])
    else:
        seen.failed, seen.ns = said["failed"], said["ns"]
