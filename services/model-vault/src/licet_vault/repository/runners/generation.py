"""Serves a text generator: one step of `model.onnx` at a time for all streams, inside Triton's Python back end.

Streams join and leave between steps, so that a long one keeps nobody waiting. Tokens are counted here, and nowhere
else: every response tells how many went in and came out so far.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils
from licet_pieces import NotFinite, Pieces, choose
from licet_requests import Asked, asked
from licet_tokens import Refused, Tokens, load
from onnxruntime.capi import onnxruntime_pybind11_state as ort

# What a graph may do at a step that its inputs do not suit; anything else is a fault of this program.
FAULTS = (ort.Fail, ort.RuntimeException, ort.InvalidArgument, ort.NotImplemented, ort.EPFail)
# Streams that wait for a place; whoever comes then is better told at once.
MAX_WAITING = 256
FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


@dataclass
class Stream:
    """One request on its way: what is asked, how far it is, and where its text goes."""

    sender: Any
    asked: Asked
    state: Any
    pieces: Pieces
    position: int = 0
    output_tokens: int = 0
    last: int = field(default=0)

    @property
    def next_token(self) -> int:
        prompt = self.asked.prompt
        return prompt[self.position] if self.position < len(prompt) else self.last

    @property
    def has_read(self) -> bool:
        """Whether the whole prompt has been taken in, so that what the model says now goes on from it."""
        return self.position >= len(self.asked.prompt)


class TritonPythonModel:
    """`text_input` or `messages` to a stream of `text_output`, with cumulative counts."""

    def initialize(self, args: dict[str, str]) -> None:
        folder = Path(args["model_repository"]) / args["model_version"]
        self.rules = load(folder, "generation.json")
        self.tokens = Tokens(
            folder, max_tokens=self.rules["max_input_tokens"], beyond_bytes=self.rules["beyond_bytes"]
        )
        self.texts = self.tokens.texts()
        self.ends = {self.tokens.id_of(token) for token in self.rules["end"]}
        options = onnxruntime.SessionOptions()
        # Triton runs models side by side; threads of their own would only take turns on the same cores.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            folder / "model.onnx", options, providers=["CPUExecutionProvider"]
        )
        self.waiting: deque[Stream] = deque()
        self.active: list[Stream] = []
        self.changed = threading.Condition()
        self.closing = False
        self.worker = threading.Thread(target=self.run, name="streams", daemon=True)
        self.worker.start()

    def finalize(self) -> None:
        with self.changed:
            self.closing = True
            self.changed.notify()
        self.worker.join()

    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            sender = request.get_response_sender()
            try:
                found = asked(request, self.tokens, self.rules)
            except Refused as refusal:
                fail(sender, str(refusal), pb_utils.TritonError.INVALID_ARG)
                continue
            self.admit(Stream(sender, found, np.zeros(self.rules["state"], np.float32), Pieces(found.stops)))

    def admit(self, stream: Stream) -> None:
        with self.changed:
            full = self.closing or len(self.waiting) >= MAX_WAITING
            if not full:
                self.waiting.append(stream)
                self.changed.notify()
        if full:
            fail(stream.sender, "the model has too many waiting requests", pb_utils.TritonError.UNAVAILABLE)

    def run(self) -> None:
        """Steps until the model is unloaded; whatever ends this, nobody is left waiting."""
        try:
            while self.take_in():
                self.step()
        finally:
            with self.changed:
                self.closing = True
                left = [*self.active, *self.waiting]
                self.waiting.clear()
            for stream in left:
                fail(stream.sender, "the model is not served any more", pb_utils.TritonError.UNAVAILABLE)

    def take_in(self) -> bool:
        """Waits until there is a stream to go on with; false once the model is unloaded."""
        with self.changed:
            while not (self.active or self.waiting or self.closing):
                self.changed.wait()
            while self.waiting and len(self.active) < self.rules["max_batch"]:
                self.active.append(self.waiting.popleft())
            return not self.closing

    def step(self) -> None:
        """Feeds every active stream its next token, and hands out what comes of it."""
        self.active = [stream for stream in self.active if not self.is_left(stream)]
        if not self.active:
            return
        given = {
            "TOKEN": np.array([stream.next_token for stream in self.active], np.int64),
            "STATE": np.stack([stream.state for stream in self.active]),
        }
        try:
            logits, states = self.session.run(["LOGITS", "NEXT_STATE"], given)
        except FAULTS:
            for stream in self.active:
                fail(stream.sender, "the model failed at this input", pb_utils.TritonError.INTERNAL)
            self.active = []
            return
        self.active = [
            stream
            for stream, row, state in zip(self.active, logits, states, strict=True)
            if self.advance(stream, row, state)
        ]

    def is_left(self, stream: Stream) -> bool:
        """Whether the caller has gone; its stream is then closed without another word."""
        # Asked while a long prompt is read, too, but not at each of its tokens: the question costs a message.
        if not stream.has_read and stream.position % 32:
            return False
        if not stream.sender.is_cancelled():
            return False
        stream.sender.send(flags=FINAL)
        return True

    def advance(self, stream: Stream, logits: Any, state: Any) -> bool:
        """Takes the model's answer in; whether the stream goes on."""
        stream.state = state
        stream.position += 1
        if not stream.has_read:
            return True
        try:
            token = choose(logits, stream.asked.temperature, stream.asked.top_p, stream.asked.random)
        except NotFinite:
            fail(stream.sender, "the model gave no finite figures", pb_utils.TritonError.INTERNAL)
            return False
        if token in self.ends:
            self.finish(stream, stream.pieces.rest(), "stop")
            return False
        stream.last = token
        stream.output_tokens += 1
        text = stream.pieces.push(self.texts[token] if token < len(self.texts) else b"")
        if stream.pieces.stopped:
            self.finish(stream, text, "stop")
            return False
        if stream.output_tokens >= stream.asked.max_tokens:
            text += stream.pieces.rest()
            self.finish(stream, text, "stop" if stream.pieces.stopped else "length")
            return False
        if text:
            stream.sender.send(response(stream, text, ""))
        return True

    def finish(self, stream: Stream, text: str, reason: str) -> None:
        stream.sender.send(response(stream, text, reason), flags=FINAL)


def response(stream: Stream, text: str, reason: str) -> Any:
    """One piece, with all that was counted up to it."""
    return pb_utils.InferenceResponse(
        [
            pb_utils.Tensor("text_output", np.array([text.encode()], np.object_)),
            pb_utils.Tensor("finish_reason", np.array([reason.encode()], np.object_)),
            pb_utils.Tensor("input_tokens", np.array([stream.asked.input_tokens], np.int32)),
            pb_utils.Tensor("output_tokens", np.array([stream.output_tokens], np.int32)),
        ]
    )


def fail(sender: Any, text: str, code: Any) -> None:
    """Ends a stream by an error."""
    sender.send(pb_utils.InferenceResponse([], pb_utils.TritonError(text, code)), flags=FINAL)
