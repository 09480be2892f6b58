"""Writes down what it really saw and sent: the count that usage records are compared with.

`CALL` is a JSON object that names the call and says how it goes: `n` its number, `sleep_ms` before its answer, `fails`
whether it ends in an error, `waits_after` the response behind which a streamed one waits until nobody wants it.
An input token is a word of `text_input`, and `max_tokens` says how many are written: a stream gives one, then two, then
one again a response. Each instance writes lines of JSON to `log-<pid>` beside it.
"""

import json
import os
import pathlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

WAIT_S = 20.0


class TritonPythonModel:
    """Triton's interface."""

    def initialize(self, args: dict[str, str]) -> None:
        policy = json.loads(args["model_config"]).get("model_transaction_policy", {})
        self._decoupled = bool(policy.get("decoupled"))
        self._log = (pathlib.Path(__file__).parent / f"log-{os.getpid()}").open("a")
        self._lock = threading.Lock()

    def execute(self, requests: list[Any]) -> list[Any] | None:
        if not self._decoupled:
            return [self._answer(request) for request in requests]
        for request in requests:
            threading.Thread(target=self._stream, args=(request,), daemon=True).start()
        return None

    def _answer(self, request: Any) -> Any:
        begun = time.monotonic_ns()
        call, read, written = self._see(request)
        time.sleep(call["sleep_ms"] / 1000)
        if not call["fails"]:
            self._write(n=call["n"], sent=written)
        self._write(n=call["n"], done=True, failed=call["fails"], ns=time.monotonic_ns() - begun)
        if call["fails"]:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError("the model failed"))
        return _response(read, written)

    def _stream(self, request: Any) -> None:
        begun = time.monotonic_ns()
        sender = request.get_response_sender()
        call, read, written = self._see(request)
        time.sleep(call["sleep_ms"] / 1000)
        for number, so_far in enumerate(_steps(written), 1):
            self._write(n=call["n"], sent=so_far)
            sender.send(_response(read, so_far))
            if number == call["waits_after"]:
                _wait_until_cancelled(request)
                break
        self._write(n=call["n"], done=True, failed=call["fails"], ns=time.monotonic_ns() - begun)
        if call["fails"]:
            sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError("the model failed")))
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _see(self, request: Any) -> tuple[dict[str, Any], int, int]:
        """The call, and its tokens in and out."""
        tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        call = json.loads(tensors["CALL"][0])
        text = tensors["text_input"][0] if "text_input" in tensors else b""
        rows = int(tensors["X"].shape[0]) if "X" in tensors else 0
        read = len(text.split())
        self._write(n=call["n"], rows=rows, read=read, text_bytes=len(text), at=time.monotonic())
        return call, read, int(tensors["max_tokens"][0]) if "max_tokens" in tensors else 1

    def _write(self, **line: Any) -> None:
        with self._lock:
            self._log.write(json.dumps(line) + "\n")
            self._log.flush()


def _steps(written: int) -> Iterator[int]:
    """Tokens written so far, at each response."""
    so_far, size = 0, 1
    while so_far < written:
        so_far = min(so_far + size, written)
        size = 3 - size
        yield so_far


def _response(read: int, written: int) -> Any:
    text = np.array([("w" * written).encode()], dtype=object)
    counts = (("input_tokens", read), ("output_tokens", written))
    tensors = [pb_utils.Tensor(name, np.array([count], dtype=np.int32)) for name, count in counts]
    return pb_utils.InferenceResponse([pb_utils.Tensor("text_output", text), *tensors])


def _wait_until_cancelled(request: Any) -> None:
    until = time.monotonic() + WAIT_S
    while not request.is_cancelled() and time.monotonic() < until:
        time.sleep(0.005)
