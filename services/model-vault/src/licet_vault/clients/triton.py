"""One Triton's repository API, and the call that proves that a loaded model answers."""

from __future__ import annotations

from collections.abc import Awaitable
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import numpy as np
from licet_kit.errors import Unavailable
from licet_schemas.manifest import Manifest
from numpy.typing import NDArray
from tritonclient.http import InferInput, InferResult
from tritonclient.http.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from licet_vault.clients.answers import (
    PROBE_REQUEST,
    PROBE_TEXTS,
    check_embedding,
    check_stream,
    events_of,
)
from licet_vault.domain import LoadFailed, ModelSilent
from licet_vault.repository.entry import ENTRY_PARAMETER

MAX_TOLD_BYTES = 300
# Index and configuration come from memory; a server that needs longer is stuck or gone.
ANSWER_TIMEOUT_S = 5.0
_DTYPES: dict[str, type[np.generic]] = {"FP32": np.float32, "INT64": np.int64}

T = TypeVar("T")


class TritonUnavailable(Unavailable):
    """Triton does not answer; it is asked again later."""

    code = "triton_unavailable"

    def __init__(self, url: str, error: Exception) -> None:
        super().__init__(f"Triton at {url} does not answer: {type(error).__name__}")
        self.url = url


class Triton:
    """A Triton with explicit model control. Its clients are opened once and closed by `close`."""

    def __init__(self, url: str, *, load_timeout_s: float) -> None:
        self.url = url
        self._load_timeout = aiohttp.ClientTimeout(total=load_timeout_s)
        address = urlsplit(url)
        secure = address.scheme == "https"
        self._quick = InferenceServerClient(address.netloc, ssl=secure, conn_timeout=ANSWER_TIMEOUT_S)
        # Loading waits for the model's own start, which reads all of its weights.
        self._slow = InferenceServerClient(address.netloc, ssl=secure, conn_timeout=load_timeout_s)

    async def close(self) -> None:
        """Closes both connection pools."""
        await self._quick.close()
        await self._slow.close()

    async def ready_models(self) -> frozenset[str]:
        """Names of the models that are loaded and ready; raises TritonUnavailable."""
        index: list[dict[str, str]] = await self._ask(self._quick.get_model_repository_index())
        return frozenset(model["name"] for model in index if model.get("state") == "READY")

    async def loaded_entry(self, name: str) -> str:
        """The entry id in the configuration that a ready model was loaded with; empty without one."""
        config: dict[str, Any] = await self._ask(self._quick.get_model_config(name))
        return str(config.get("parameters", {}).get(ENTRY_PARAMETER, {}).get("string_value", ""))

    async def load(self, name: str) -> None:
        """Loads a model from the repository with what it depends on; raises LoadFailed or TritonUnavailable."""
        await self._ask_of_model(self._slow.load_model(name))

    async def unload(self, *names: str) -> None:
        """Unloads models that may or may not be loaded; raises TritonUnavailable when Triton will not."""
        for name in names:
            try:
                await self._ask(self._slow.unload_model(name))
            except LoadFailed as error:
                raise TritonUnavailable(self.url, error) from error

    async def probe(self, name: str, manifest: Manifest, sample: NDArray[np.float32]) -> None:
        """Calls the model with one row, or a word; raises LoadFailed unless it answers as the manifest says.

        Ready is not enough: a back end with an unfit numpy reports ready and fails every call.
        """
        if manifest.generation is not None:
            check_stream(await self._ask_of_model(self._generate(name)))
            return
        if manifest.embedding is not None:
            check_embedding(await self._ask_of_model(self._embed(name)), manifest.embedding.dimensions)
            return
        answer = await self._ask_of_model(self._infer(name, manifest, sample))
        for output in manifest.outputs:
            found = answer.as_numpy(output.name)
            wanted = (len(sample), *output.shape[1:])
            if found is None or found.shape != wanted or found.dtype != _DTYPES[output.datatype]:
                raise LoadFailed(f"output {output.name} is not {output.datatype} {list(wanted)}")
            if not np.isfinite(found).all():
                raise LoadFailed(f"output {output.name} is not finite for a typical row")

    async def _infer(self, name: str, manifest: Manifest, sample: NDArray[np.float32]) -> InferResult:
        """Builds the input as well, so that one that cannot be built is the version's fault as any other."""
        tensor = manifest.inputs[0]
        given = InferInput(tensor.name, list(sample.shape), tensor.datatype)
        given.set_data_from_numpy(sample.astype(_DTYPES[tensor.datatype], copy=False))
        return await self._slow.infer(name, [given])

    async def _embed(self, name: str) -> InferResult:
        given = InferInput("text", [len(PROBE_TEXTS)], "BYTES")
        given.set_data_from_numpy(np.array([text.encode() for text in PROBE_TEXTS], np.object_))
        return await self._slow.infer(name, [given])

    async def _generate(self, name: str) -> list[dict[str, Any]]:
        """Every event of a short stream. Triton's client knows no streams over HTTP."""
        async with (
            aiohttp.ClientSession(timeout=self._load_timeout, connector=aiohttp.TCPConnector()) as session,
            session.post(f"{self.url}/v2/models/{name}/generate_stream", json=PROBE_REQUEST) as answer,
        ):
            body = await answer.read()
            if answer.status != HTTPStatus.OK:
                raise LoadFailed(f"a short text is refused: {body[:MAX_TOLD_BYTES]!r}")
        return events_of(body)

    async def _ask_of_model(self, question: Awaitable[T]) -> T:
        """A model that is silent while its server answers is the version's fault; raises ModelSilent for it."""
        try:
            return await self._ask(question)
        except TritonUnavailable as error:
            if not isinstance(error.__cause__, TimeoutError):
                raise
            await self.ready_models()
            raise ModelSilent("the model did not answer in time") from error

    async def _ask(self, question: Awaitable[T]) -> T:
        try:
            return await question
        except InferenceServerException as error:
            raise LoadFailed(str(error.message())) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TritonUnavailable(self.url, error) from error
