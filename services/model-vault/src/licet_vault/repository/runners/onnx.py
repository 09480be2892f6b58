"""Serves an ONNX graph with onnxruntime inside Triton's Python back end, beside its `model.onnx`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """The graph's own inputs and outputs, `[rows, …]`; waiting requests are run as one batch."""

    def initialize(self, args: dict[str, str]) -> None:
        folder = Path(args["model_repository"]) / args["model_version"]
        config = json.loads(args["model_config"])
        self.input: str = config["input"][0]["name"]
        self.outputs: list[str] = [output["name"] for output in config["output"]]
        options = onnxruntime.SessionOptions()
        # Triton runs models side by side; threads of their own would only take turns on the same cores.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            folder / "model.onnx", options, providers=["CPUExecutionProvider"]
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        rows = [pb_utils.get_input_tensor_by_name(r, self.input).as_numpy() for r in requests]
        results = self.session.run(self.outputs, {self.input: np.concatenate(rows)})
        ends = np.cumsum([len(r) for r in rows])
        parts = [np.split(result, ends[:-1]) for result in results]
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor(name, part[i]) for name, part in zip(self.outputs, parts, strict=True)]
            )
            for i in range(len(requests))
        ]
