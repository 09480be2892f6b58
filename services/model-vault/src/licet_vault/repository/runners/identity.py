"""Gives back what it is given."""

import json
from typing import Any

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Answers each request with its own input, under the output's name."""

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        self.input: str = config["input"][0]["name"]
        self.output: str = config["output"][0]["name"]

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self.respond(request) for request in requests]

    def respond(self, request: Any) -> Any:
        tensor = pb_utils.get_input_tensor_by_name(request, self.input)
        return pb_utils.InferenceResponse([pb_utils.Tensor(self.output, tensor.as_numpy())])
