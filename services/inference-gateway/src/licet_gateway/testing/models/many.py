"""Twenty outputs `Y<n>` = X + n, [rows, 2] float32; those that are asked for."""

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Triton's interface."""

    def execute(self, requests: list[Any]) -> list[Any]:
        return [_answer(request) for request in requests]


def _answer(request: Any) -> Any:
    x = pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
    wanted = sorted(request.requested_output_names())
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor(name, (x + int(name[1:])).astype(np.float32)) for name in wanted]
    )
