"""Calls a model through the gateway: KServe v2 bodies by NVIDIA's client, so tensors are encoded as Triton expects.

The transport is our own pool, because the client does not show response headers, and they carry what a call cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import httpx2
import numpy as np
from numpy.typing import NDArray
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import np_to_triton_dtype

from licet_sdk.config import Config
from licet_sdk.errors import ConfigError, Unreachable
from licet_sdk.http import refusal, tls_context

TIMEOUT_S = 60.0
_HEADER_LENGTH = "inference-header-content-length"

Tensors = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Answer:
    """Outputs by name, and what the call was metered as. `units_remaining` is approximate."""

    outputs: Tensors
    request_id: str
    units: int
    units_remaining: int | None


class Inference:
    """KServe v2 calls to one gateway replica, on pooled connections."""

    def __init__(self, config: Config, replica: int = 0) -> None:
        config.require("gateway")
        if not 0 <= replica < len(config.gateway):
            raise ConfigError(
                "config_invalid", f"there are {len(config.gateway)} gateway replicas", "choose another"
            )
        self.url = config.gateway[replica]
        key = config.api_key or config.session
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx2.Client(
            base_url=self.url, headers=headers, timeout=TIMEOUT_S, verify=tls_context()
        )

    def close(self) -> None:
        """Closes pooled connections."""
        self._http.close()

    def __call__(self, slug: str, inputs: Tensors, *, binary: bool = True) -> Answer:
        """Runs `owner/model`; raises Refused with the gateway's code, Unreachable when it does not answer."""
        tensors = [_tensor(name, value, binary) for name, value in inputs.items()]
        name = slug.replace("/", ".")
        outputs = None if binary else [InferRequestedOutput(n, binary_data=False) for n in self.outputs(slug)]
        body, json_size = InferenceServerClient.generate_request_body(tensors, outputs=outputs)
        headers = {"content-type": "application/octet-stream" if json_size else "application/json"}
        if json_size:
            headers[_HEADER_LENGTH] = str(json_size)
        response = self._send("POST", f"/v2/models/{name}/infer", content=bytes(body), headers=headers)
        return _answer(response)

    def outputs(self, slug: str) -> list[str]:
        """Names of the model's outputs, from its metadata."""
        response = self._send("GET", f"/v2/models/{slug.replace('/', '.')}")
        return [str(o["name"]) for o in response.json()["outputs"]]

    def _send(self, method: str, path: str, **kwargs: object) -> httpx2.Response:
        try:
            response = self._http.request(method, path, **kwargs)  # type: ignore[arg-type]
        except httpx2.TransportError as error:
            raise Unreachable(
                "unreachable",
                f"gateway {self.url} did not answer ({type(error).__name__})",
                "check `make status`",
            ) from error
        if response.status_code != httpx2.codes.OK:
            raise refusal(response.status_code, response.content, "gateway")
        return response


def _tensor(name: str, value: NDArray[np.generic], binary: bool) -> InferInput:
    tensor = InferInput(name, list(value.shape), np_to_triton_dtype(value.dtype))
    tensor.set_data_from_numpy(value, binary_data=binary)
    return tensor


def _answer(response: httpx2.Response) -> Answer:
    length = response.headers.get(_HEADER_LENGTH)
    result = InferenceServerClient.parse_response_body(
        response.content, header_length=int(length) if length is not None else None
    )
    remaining = response.headers.get("x-licet-units-remaining")
    return Answer(
        {o["name"]: result.as_numpy(o["name"]) for o in result.get_response()["outputs"]},
        response.headers.get("x-licet-request-id", ""),
        int(response.headers.get("x-licet-units", 0)),
        int(remaining) if remaining is not None else None,
    )
