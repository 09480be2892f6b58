"""The requests that are sent, as files for the load tools."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tritonclient.grpc import service_pb2
from tritonclient.http import InferenceServerClient, InferInput

COLUMNS = 256
GRPC_PATH = "/inference.GRPCInferenceService/ModelInfer"


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body and the headers that belong to it. An answer carries `tensor_bytes` at least."""

    file: Path
    headers: dict[str, str]
    tensor_bytes: int


def kserve(folder: Path, rows: int) -> Body:
    """KServe v2 over HTTP with a binary tensor of `rows` KiB."""
    values = _values(rows)
    tensor = InferInput("INPUT0", list(values.shape), "FP32")
    tensor.set_data_from_numpy(values)
    body, json_bytes = InferenceServerClient.generate_request_body([tensor])
    file = folder / f"kserve-{rows}k.body"
    file.write_bytes(bytes(body))
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(json_bytes),
    }
    return Body(file, headers, values.nbytes)


def kserve_json(folder: Path, rows: int) -> Body:
    """The same values as JSON, which is what a gateway that reads bodies can pass on."""
    values = _values(rows)
    tensor = {"name": "INPUT0", "shape": values.shape, "datatype": "FP32", "data": values.ravel().tolist()}
    file = folder / f"kserve-{rows}k.json"
    file.write_text(json.dumps({"inputs": [tensor]}))
    return Body(file, {"Content-Type": "application/json"}, values.nbytes)


def vector(folder: Path, kib: int) -> Body:
    """The same values in one dimension, as `generate_stream` takes them."""
    values = _values(kib).ravel()
    file = folder / f"vector-{kib}k.json"
    file.write_text(json.dumps({"INPUT0": values.tolist()}))
    return Body(file, {"Content-Type": "application/json"}, values.nbytes)


def grpc(folder: Path, rows: int, model: str) -> Body:
    """A ModelInfer message in gRPC's frame: one byte for no compression, four for the length."""
    values = _values(rows)
    request = service_pb2.ModelInferRequest(model_name=model, raw_input_contents=[values.tobytes()])
    request.inputs.add(name="INPUT0", datatype="FP32", shape=values.shape)
    message = request.SerializeToString()
    file = folder / f"grpc-{model}-{rows}k.body"
    file.write_bytes(b"\0" + len(message).to_bytes(4) + message)
    return Body(file, {"content-type": "application/grpc", "te": "trailers"}, values.nbytes)


def _values(rows: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.linspace(0, 1, rows * COLUMNS, dtype=np.float32).reshape(rows, COLUMNS)
