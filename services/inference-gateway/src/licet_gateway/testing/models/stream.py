"""Streams the words of its text, one response each.

A word `gate-<n>` waits for the file of that name beside it, `fail` ends with an error. It writes `at-<word>` when it
comes to a word, and `cancelled-<word>` where it finds there that nobody wants the answer any more.
"""

import pathlib
import time
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

WAIT_S = 30.0


class TritonPythonModel:
    """Triton's interface."""

    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            _answer(request)


def _answer(request: Any) -> None:
    sender = request.get_response_sender()
    folder = pathlib.Path(__file__).parent
    text = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy()[0].decode()
    for word in text.split(" "):
        (folder / f"at-{word[:32]}").touch()
        if word == "fail":
            sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError("the model failed")))
            break
        if word.startswith("gate-") and not _opened(request, folder / word):
            (folder / f"cancelled-{word}").touch()
            break
        sender.send(
            pb_utils.InferenceResponse([pb_utils.Tensor("TOKEN", np.array([word.encode()], dtype=object))])
        )
    sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def _opened(request: Any, gate: pathlib.Path) -> bool:
    """Waits for a gate; whether the answer is wanted then."""
    until = time.monotonic() + WAIT_S
    while not gate.exists() and time.monotonic() < until:
        if request.is_cancelled():
            return False
        time.sleep(0.005)
    return True
