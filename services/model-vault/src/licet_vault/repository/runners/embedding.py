"""Serves a text embedding with onnxruntime inside Triton's Python back end; counts the tokens of all texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils
from licet_tokens import Refused, Tokens, load, text_of


class TritonPythonModel:
    """`text` BYTES `[texts]` to `embedding` `[texts, dimensions] float32`."""

    def initialize(self, args: dict[str, str]) -> None:
        folder = Path(args["model_repository"]) / args["model_version"]
        self.rules = load(folder, "embedding.json")
        self.tokens = Tokens(
            folder, max_tokens=self.rules["max_input_tokens"], beyond_bytes=self.rules["beyond_bytes"]
        )
        options = onnxruntime.SessionOptions()
        # Triton runs models side by side; threads of their own would only take turns on the same cores.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            folder / "model.onnx", options, providers=["CPUExecutionProvider"]
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self.respond(request) for request in requests]

    def respond(self, request: Any) -> Any:
        given = pb_utils.get_input_tensor_by_name(request, "text").as_numpy().ravel()
        try:
            ids = self.ids([text_of(raw, "text") for raw in given])
        except Refused as refusal:
            return pb_utils.InferenceResponse(
                [], pb_utils.TritonError(str(refusal), pb_utils.TritonError.INVALID_ARG)
            )
        (embedding,) = self.session.run(["EMBEDDING"], padded(ids))
        count = sum(len(row) for row in ids)
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("embedding", np.ascontiguousarray(embedding, np.float32)),
                pb_utils.Tensor("input_tokens", np.array([count], np.int32)),
            ]
        )

    def ids(self, texts: list[str]) -> list[list[int]]:
        """The tokens of every text; raises Refused for too many texts, and for one that has none or too many."""
        if not 1 <= len(texts) <= self.rules["max_batch"]:
            raise Refused(f"{len(texts)} texts are given, 1 to {self.rules['max_batch']} are taken")
        found = []
        for index, text in enumerate(texts):
            row = self.tokens.ids(text, around=True)
            if not text or not row:
                raise Refused(f"text {index} is empty")
            self.tokens.check(len(row), len(text.encode()))
            found.append(row)
        return found


def padded(ids: list[list[int]]) -> dict[str, Any]:
    """Rows of one length, and where they hold tokens."""
    shape = (len(ids), max(len(row) for row in ids))
    tokens, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for index, row in enumerate(ids):
        tokens[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return {"TOKENS": tokens, "MASK": mask}
