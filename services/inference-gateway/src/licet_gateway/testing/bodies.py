"""Request bodies for the test models, made by Triton's own client."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tritonclient.http as triton


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes and the headers that belong to them."""

    data: bytes
    headers: dict[str, str]


def body(name: str, values: Any, *, binary: bool, datatype: str = "FP32") -> Body:
    """One input as tritonclient encodes it."""
    return inputs({name: (datatype, values)}, binary=binary)


def inputs(tensors: Mapping[str, tuple[str, Any]], *, binary: bool) -> Body:
    """Inputs, each a datatype and values, as tritonclient encodes them."""
    made = []
    for name, (datatype, values) in tensors.items():
        tensor = triton.InferInput(name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values, binary_data=binary)
        made.append(tensor)
    data, header_length = triton.InferenceServerClient.generate_request_body(made)
    if header_length is None:
        return Body(data, {"Content-Type": "application/json"})
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(header_length),
    }
    return Body(data, headers)


def rows(count: int, *, binary: bool = True, seed: int = 0) -> Body:
    """`count` rows for the rows model."""
    values = np.random.default_rng(seed).random((count, 4), dtype=np.float32)
    return body("X", values, binary=binary)


def identity(*, binary: bool = True, rows: int = 1) -> Body:
    """A request of the identity model; one row is a kilobyte."""
    values = np.arange(rows * 256, dtype=np.float32).reshape(rows, 256)
    return body("INPUT0", values, binary=binary)


def gate(number: int) -> Body:
    """A call that the gated model answers when gate `number` opens."""
    return body("GATE", np.array([number], dtype=np.int32), binary=True, datatype="INT32")


def rows_json(shape: list[int], **more: Any) -> bytes:
    """A JSON request of the rows model with data that fits its shape."""
    count = int(np.prod(shape))
    entry = {"name": "X", "shape": shape, "datatype": "FP32", "data": [1.0] * count, **more}
    return json.dumps({"inputs": [entry]}).encode()
