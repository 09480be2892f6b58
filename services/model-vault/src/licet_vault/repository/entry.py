"""Plans what Triton is given for one version: folders of configuration, platform code and artefacts.

A publisher's bytes never name a file, a back end or a line of code here: names are the platform's, the manifest's
strings have been matched against patterns, and configuration is written by protobuf's own text format.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from typing import Any, assert_never

from google.protobuf import text_format
from licet_schemas.manifest import ONNX_ARTIFACT, Manifest, Tensor
from licet_schemas.text import SPECIAL_TOKENS_MAX, interface
from tritonclient.grpc import model_config_pb2 as pb

PIPELINE, MODEL = "pipeline", "model"
SCALED = "SCALED"
ENTRY_PARAMETER = "licet_entry"
_DATATYPES = {
    "FP32": pb.TYPE_FP32,
    "INT64": pb.TYPE_INT64,
    "INT32": pb.TYPE_INT32,
    "BYTES": pb.TYPE_STRING,
}


@dataclass(frozen=True, slots=True)
class Stored:
    """A file whose content is the artefact of this digest."""

    sha256: str


@dataclass(frozen=True, slots=True)
class Folder:
    """One Triton model: files by their path below it, and version folders that hold nothing."""

    name: str
    files: dict[str, bytes | Stored]


@dataclass(frozen=True, slots=True)
class Entry:
    """All folders of one version, the one that is called last. `entry_id` changes with any byte of any of them."""

    triton_model: str
    entry_id: str
    folders: tuple[Folder, ...]


def plan(manifest: Manifest, triton_model: str) -> Entry:
    """The entry of a valid manifest under its pinned name; the same input gives the same entry."""
    match manifest.runner:
        case "identity":
            parts = _identity(manifest, triton_model)
        case "onnx":
            parts = _onnx(manifest, triton_model)
        case "text-generation":
            parts = _generation(manifest, triton_model)
        case "text-embedding":
            parts = _embedding(manifest, triton_model)
        case _:
            assert_never(manifest.runner)
    entry_id = _identify(parts)
    folders = []
    for config, files in parts:
        # Triton ignores new files where the configuration is the same, so every configuration tells its entry.
        config.parameters[ENTRY_PARAMETER].string_value = entry_id
        text = text_format.MessageToString(config).encode()
        folders.append(Folder(config.name, {"config.pbtxt": text, **files}))
    return Entry(triton_model, entry_id, tuple(folders))


def folder_names(triton_model: str) -> tuple[str, ...]:
    """Every folder that an entry of this name may consist of."""
    return (f"{triton_model}.{PIPELINE}", f"{triton_model}.{MODEL}", triton_model)


def pinned_of(folder_name: str) -> str:
    """The name of the entry that a folder belongs to."""
    return folder_name.removesuffix(f".{PIPELINE}").removesuffix(f".{MODEL}")


Part = tuple[pb.ModelConfig, dict[str, bytes | Stored]]


def _identity(manifest: Manifest, name: str) -> list[Part]:
    config = pb.ModelConfig(name=name, backend="python", max_batch_size=0)
    config.input.extend(_inputs(manifest.inputs, skip=0))
    config.output.extend(_outputs(manifest.outputs, skip=0))
    _one_cpu_instance(config)
    return [(config, {"1/model.py": _runner("identity")})]


def _generation(manifest: Manifest, name: str) -> list[Part]:
    assert manifest.generation is not None  # noqa: S101  the manifest's own rule, for the type checker
    runner = {f"1/{file}.py": _runner(file) for file in ("licet_tokens", "licet_pieces", "licet_requests")}
    config = _text(name, interface(manifest.generation))
    config.model_transaction_policy.decoupled = True
    rules = {**manifest.generation.model_dump(mode="json"), **_bounds(manifest)}
    files = {"1/model.py": _runner("generation"), "1/generation.json": _json(rules), **runner}
    return [(config, {**files, **_artifacts(manifest)})]


def _embedding(manifest: Manifest, name: str) -> list[Part]:
    assert manifest.embedding is not None  # noqa: S101  the manifest's own rule, for the type checker
    rules = {**manifest.embedding.model_dump(mode="json"), **_bounds(manifest)}
    files = {
        "1/model.py": _runner("embedding"),
        "1/licet_tokens.py": _runner("licet_tokens"),
        "1/embedding.json": _json(rules),
    }
    return [(_text(name, interface(manifest.embedding)), {**files, **_artifacts(manifest)})]


def _text(name: str, described: dict[str, Any]) -> pb.ModelConfig:
    """One model with the inputs and outputs of its task, and no batching of Triton's: the runner sees to that."""
    config = pb.ModelConfig(name=name, backend="python", max_batch_size=0)
    for tensor in described["inputs"]:
        config.input.add(
            name=tensor["name"],
            data_type=_DATATYPES[tensor["datatype"]],
            dims=tensor["shape"],
            optional=tensor.get("optional", False),
        )
    for tensor in described["outputs"]:
        config.output.add(name=tensor["name"], data_type=_DATATYPES[tensor["datatype"]], dims=tensor["shape"])
    _one_cpu_instance(config)
    return config


def _bounds(manifest: Manifest) -> dict[str, int]:
    return {"max_batch": manifest.limits.max_batch, "beyond_bytes": SPECIAL_TOKENS_MAX}


def _artifacts(manifest: Manifest) -> dict[str, bytes | Stored]:
    return {f"1/{a.name}": Stored(a.sha256) for a in manifest.artifacts}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _onnx(manifest: Manifest, name: str) -> list[Part]:
    assert manifest.pipeline is not None  # noqa: S101  the manifest's own rule, for the type checker
    artifacts = {a.name: Stored(a.sha256) for a in manifest.artifacts}
    pipeline, model = f"{name}.{PIPELINE}", f"{name}.{MODEL}"
    given = manifest.inputs[0]
    stage = _batched(pipeline, manifest.limits.max_batch)
    stage.input.extend(_inputs([given], skip=1))
    stage.output.extend(_outputs([given.model_copy(update={"name": SCALED})], skip=1))
    graph = _batched(model, manifest.limits.max_batch)
    graph.dynamic_batching.SetInParent()
    graph.input.extend(_inputs([given], skip=1))
    graph.output.extend(_outputs(manifest.outputs, skip=1))
    return [
        (
            stage,
            {
                "1/model.py": _runner("tabular"),
                "1/features.json": artifacts[manifest.pipeline.features],
                "1/scaler.json": artifacts[manifest.pipeline.scaler],
            },
        ),
        (graph, {"1/model.py": _runner("onnx"), "1/model.onnx": artifacts[ONNX_ARTIFACT]}),
        (_ensemble(manifest, name), {"1/.keep": b""}),
    ]


def _ensemble(manifest: Manifest, name: str) -> pb.ModelConfig:
    """Features go through the pipeline into the model, inside Triton; only the ensemble's name is ever called."""
    config = pb.ModelConfig(name=name, platform="ensemble", max_batch_size=manifest.limits.max_batch)
    config.input.extend(_inputs(manifest.inputs, skip=1))
    config.output.extend(_outputs(manifest.outputs, skip=1))
    given = manifest.inputs[0].name
    stage = config.ensemble_scheduling.step.add(model_name=f"{name}.{PIPELINE}", model_version=-1)
    stage.input_map[given], stage.output_map[SCALED] = given, SCALED
    graph = config.ensemble_scheduling.step.add(model_name=f"{name}.{MODEL}", model_version=-1)
    graph.input_map[given] = SCALED
    for output in manifest.outputs:
        graph.output_map[output.name] = output.name
    return config


def _batched(name: str, max_batch: int) -> pb.ModelConfig:
    config = pb.ModelConfig(name=name, backend="python", max_batch_size=max_batch)
    _one_cpu_instance(config)
    return config


def _one_cpu_instance(config: pb.ModelConfig) -> None:
    config.instance_group.add(kind=pb.ModelInstanceGroup.KIND_CPU, count=1)


def _inputs(tensors: Iterable[Tensor], *, skip: int) -> list[pb.ModelInput]:
    return [
        pb.ModelInput(name=t.name, data_type=_DATATYPES[t.datatype], dims=t.shape[skip:]) for t in tensors
    ]


def _outputs(tensors: Iterable[Tensor], *, skip: int) -> list[pb.ModelOutput]:
    return [
        pb.ModelOutput(name=t.name, data_type=_DATATYPES[t.datatype], dims=t.shape[skip:]) for t in tensors
    ]


def _runner(name: str) -> bytes:
    return resources.files("licet_vault.repository").joinpath(f"runners/{name}.py").read_bytes()


def _identify(parts: list[Part]) -> str:
    found = hashlib.sha256()
    for config, files in parts:
        found.update(_framed(config.name.encode()) + _framed(text_format.MessageToString(config).encode()))
        for path, content in sorted(files.items()):
            body = content.sha256.encode() if isinstance(content, Stored) else content
            found.update(_framed(path.encode()) + _framed(body))
    return found.hexdigest()


def _framed(body: bytes) -> bytes:
    return len(body).to_bytes(8, "big") + body
