"""Streams from a Triton over gRPC, as a gateway opens them."""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import tritonclient.grpc as grpcclient

KINDS: dict[str, tuple[str, Any]] = {
    "text_input": ("BYTES", np.object_),
    "messages": ("BYTES", np.object_),
    "stop": ("BYTES", np.object_),
    "max_tokens": ("INT32", np.int32),
    "temperature": ("FP32", np.float32),
    "top_p": ("FP32", np.float32),
    "seed": ("INT64", np.int64),
}
DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class Part:
    """One response of a stream."""

    text: str
    reason: str
    input_tokens: int
    output_tokens: int


class Failed(Exception):
    """The stream ended by an error; the text is Triton's."""


def inputs(given: dict[str, Any]) -> list[grpcclient.InferInput]:
    """A generator's inputs of plain values; text is sent as UTF-8."""
    made = []
    for name, value in given.items():
        kind, dtype = KINDS[name]
        values = value if isinstance(value, list) else [value]
        values = [v.encode() if isinstance(v, str) else v for v in values]
        tensor = grpcclient.InferInput(name, [len(values)], kind)
        tensor.set_data_from_numpy(np.array(values, dtype))
        made.append(tensor)
    return made


class Stream:
    """A connection of its own with one stream on it; a context manager."""

    def __init__(self, address: str) -> None:
        self._client = grpcclient.InferenceServerClient(address)
        self._answers: queue.Queue[tuple[Any, Any]] = queue.Queue()

    def __enter__(self) -> Stream:
        self._client.start_stream(lambda result, error: self._answers.put((result, error)))
        return self

    def __exit__(self, *_: object) -> None:
        self._client.stop_stream(cancel_requests=True)
        self._client.close()

    def ask(self, model: str, given: dict[str, Any]) -> None:
        """Sends one request."""
        self._client.async_stream_infer(model, inputs(given))

    def next(self) -> Part:
        """The next response; raises Failed, or queue.Empty after the deadline."""
        result, error = self._answers.get(timeout=DEADLINE_S)
        if error is not None:
            raise Failed(str(error.message()))
        text, reason = (result.as_numpy(name)[0].decode() for name in ("text_output", "finish_reason"))
        counts = [int(result.as_numpy(name)[0]) for name in ("input_tokens", "output_tokens")]
        return Part(text, reason, *counts)

    def cancel(self) -> None:
        """Ends the stream as a client that goes away."""
        self._client.stop_stream(cancel_requests=True)


def generated(address: str, model: str, **given: Any) -> list[Part]:
    """Every response of one request, to the last."""
    with Stream(address) as stream:
        stream.ask(model, given)
        parts = [stream.next()]
        until = time.monotonic() + DEADLINE_S
        while not parts[-1].reason and time.monotonic() < until:
            parts.append(stream.next())
        return parts
