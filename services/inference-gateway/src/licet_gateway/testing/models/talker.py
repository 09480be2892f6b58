"""Speaks as the platform's text generators do: repeats the words of its prompt, one token a word, `max_tokens` at most.

A word `gate-<n>` waits for the file of that name beside it, `fail` ends with an error. Where nobody wants the answer
any more it writes `cancelled-<word>` and stops.
"""

import json
import pathlib
import time
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

WAIT_S = 30.0
FOLDER = pathlib.Path(__file__).parent


class TritonPythonModel:
    """Triton's interface."""

    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            _answer(request)


def _answer(request: Any) -> None:
    sender = request.get_response_sender()
    words = _prompt(request).split(" ")
    most = _given(request, "max_tokens", len(words))
    spoken = words[:most]
    for at, word in enumerate(spoken, 1):
        if word == "fail":
            sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError("the model failed")))
            break
        if word.startswith("gate-") and not _opened(request, FOLDER / word):
            (FOLDER / f"cancelled-{word}").touch()
            break
        reason = "" if at < len(spoken) else ("length" if len(words) > most else "stop")
        sender.send(_response(word if at == len(spoken) else f"{word} ", reason, len(words), at))
    sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def _prompt(request: Any) -> str:
    messages = pb_utils.get_input_tensor_by_name(request, "messages")
    if messages is None:
        return str(pb_utils.get_input_tensor_by_name(request, "text_input").as_numpy()[0].decode())
    return " ".join(message["content"] for message in json.loads(messages.as_numpy()[0]))


def _given(request: Any, name: str, otherwise: int) -> int:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return otherwise if tensor is None else int(tensor.as_numpy()[0])


def _response(text: str, reason: str, given: int, made: int) -> Any:
    return pb_utils.InferenceResponse(
        [
            pb_utils.Tensor("text_output", np.array([text.encode()], dtype=object)),
            pb_utils.Tensor("finish_reason", np.array([reason.encode()], dtype=object)),
            pb_utils.Tensor("input_tokens", np.array([given], dtype=np.int32)),
            pb_utils.Tensor("output_tokens", np.array([made], dtype=np.int32)),
        ]
    )


def _opened(request: Any, gate: pathlib.Path) -> bool:
    """Waits for a gate; whether the answer is wanted then."""
    until = time.monotonic() + WAIT_S
    while not gate.exists() and time.monotonic() < until:
        if request.is_cancelled():
            return False
        time.sleep(0.005)
    return True
