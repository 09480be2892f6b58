"""Triton's own four clients behind one face, and where they may call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from numpy.typing import NDArray

from licet_gateway.testing.loaded import LoadedModel


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client calls: the gateway with a key, or Triton itself."""

    http: str
    grpc: str
    headers: dict[str, str]
    pinned: bool

    def name(self, model: LoadedModel) -> str:
        return model.pinned if self.pinned else model.public_name


@dataclass(frozen=True, slots=True)
class Client:
    """One of the four."""

    module: Any
    asynchronous: bool
    over_grpc: bool

    @property
    def parts(self) -> Any:
        """The module with inputs and outputs."""
        return tritonclient.grpc if self.over_grpc else tritonclient.http

    async def use(self, place: Place, work: Callable[[Any], Any], **options: Any) -> Any:
        """What `work` gets from a client at this place: its result, or that of the coroutine that it is."""
        url = place.grpc if self.over_grpc else place.http
        if self.asynchronous:
            async with self.module.InferenceServerClient(url, **options) as client:
                return await work(client)

        def run() -> Any:
            with self.module.InferenceServerClient(url, **options) as client:
                return work(client)

        # The other side of the gateway is on this loop.
        return await asyncio.to_thread(run)

    def inputs(self, tensors: dict[str, tuple[str, NDArray[Any]]], *, binary: bool = True) -> list[Any]:
        made = []
        for name, (datatype, values) in tensors.items():
            tensor = self.parts.InferInput(name, list(values.shape), datatype)
            if self.over_grpc:
                tensor.set_data_from_numpy(values)
            else:
                tensor.set_data_from_numpy(values, binary_data=binary)
            made.append(tensor)
        return made

    def outputs(self, names: list[str], *, binary: bool = True, classes: int = 0) -> list[Any]:
        if self.over_grpc:
            return [self.parts.InferRequestedOutput(name, class_count=classes) for name in names]
        return [
            self.parts.InferRequestedOutput(name, binary_data=binary, class_count=classes) for name in names
        ]

    def answer(self, result: Any) -> Any:
        """All of an answer that can be compared."""
        said = result.get_response()
        if self.over_grpc:
            return said.SerializeToString(deterministic=True)
        tensors = {output["name"]: result.as_numpy(output["name"]) for output in said["outputs"]}
        return said, {
            name: (v.dtype.str, v.shape, v.tolist() if v.dtype == object else v.tobytes())
            for name, v in tensors.items()
        }


CLIENTS = {
    "http": Client(tritonclient.http, asynchronous=False, over_grpc=False),
    "http.aio": Client(tritonclient.http.aio, asynchronous=True, over_grpc=False),
    "grpc": Client(tritonclient.grpc, asynchronous=False, over_grpc=True),
    "grpc.aio": Client(tritonclient.grpc.aio, asynchronous=True, over_grpc=True),
}
