"""The stage in front of a tabular model: checks every value against the feature schema, fills gaps and scales.

Runs inside Triton's Python back end, beside `features.json` and `scaler.json`. A request that breaks the schema is
answered with INVALID_ARG and never reaches the model.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """INPUT `[rows, features] float32` as the caller knows it, to SCALED `[rows, features] float32`."""

    def initialize(self, args: dict[str, str]) -> None:
        folder = Path(args["model_repository"]) / args["model_version"]
        config = json.loads(args["model_config"])
        self.input: str = config["input"][0]["name"]
        self.output: str = config["output"][0]["name"]
        self.features = json.loads((folder / "features.json").read_text())["features"]
        scaler = json.loads((folder / "scaler.json").read_text())
        self.mean, self.scale = np.array(scaler["mean"]), np.array(scaler["scale"])
        # Bounds in the features' own type, so that a value equal to a bound compares equal.
        self.low = np.array([f["minimum"] for f in self.features], dtype=np.float32)
        self.high = np.array([f["maximum"] for f in self.features], dtype=np.float32)
        self.required = np.array([f["required"] for f in self.features])

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self.respond(request) for request in requests]

    def respond(self, request: Any) -> Any:
        x = pb_utils.get_input_tensor_by_name(request, self.input).as_numpy()
        if problem := self.problem(x):
            return pb_utils.InferenceResponse(
                [], pb_utils.TritonError(problem, pb_utils.TritonError.INVALID_ARG)
            )
        scaled = ((np.where(np.isnan(x), self.mean, x) - self.mean) / self.scale).astype(np.float32)
        return pb_utils.InferenceResponse([pb_utils.Tensor(self.output, scaled)])

    def problem(self, x: Any) -> str:
        """What is wrong with the first refused value, in the words of the schema; empty when nothing is."""
        if not len(x):
            return f"{self.input} has no rows"
        missing = np.isnan(x)
        refused = np.where(missing, self.required, (x < self.low) | (x > self.high))
        count = int(refused.sum())
        if not count:
            return ""
        row, column = (int(i) for i in np.argwhere(refused)[0])
        feature = self.features[column]
        text = f"feature '{feature['name']}' (column {column}) of row {row} "
        if missing[row, column]:
            text += "is required and is NaN"
        else:
            text += f"is {x[row, column]:g} {feature['unit']}, outside {feature['minimum']:g} to {feature['maximum']:g}"
        return text + (f"; {count} values are refused in all" if count > 1 else "")
