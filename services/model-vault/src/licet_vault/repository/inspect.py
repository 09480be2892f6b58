"""Checks that artefacts are the data that their manifest says, before anything is made of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from google.protobuf.message import DecodeError
from licet_schemas.features import MAX_BYTES, FeatureSchema, Scaler
from licet_schemas.manifest import ONNX_ARTIFACT, TEXT_RUNNERS, TOKENIZER_ARTIFACT, Artifact, Manifest
from licet_schemas.text import interface as described
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto
from pydantic import BaseModel, ValidationError

from licet_vault.domain import ManifestInvalid
from licet_vault.repository.text import MAX_TOKENIZER_BYTES, Side, inspect_tokenizer, text_graph

# What onnxruntime brings itself; any other domain would ask for code of the publisher.
OPERATOR_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
# A graph is parsed whole, in a few times its size; what looks at columns of a table needs far less.
MAX_GRAPH_BYTES = 128 << 20
_DATATYPES = {"FP32": TensorProto.FLOAT, "INT64": TensorProto.INT64}

ReadArtifact = Callable[[str], Iterator[bytes]]
Parsed = TypeVar("Parsed", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Tabular:
    """The verified data of a tabular pipeline."""

    features: FeatureSchema
    scaler: Scaler


def inspect(manifest: Manifest, read: ReadArtifact) -> Tabular | None:
    """The pipeline's data; None where the manifest has no pipeline.

    Raises ManifestInvalid unless feature schema, scaler and graph agree with the manifest and each other.
    """
    if manifest.runner in TEXT_RUNNERS:
        _inspect_text(manifest, read)
    if manifest.pipeline is None:
        return None
    artifacts = {a.name: a for a in manifest.artifacts}
    features = _parsed(FeatureSchema, artifacts[manifest.pipeline.features], read)
    scaler = _parsed(Scaler, artifacts[manifest.pipeline.scaler], read)
    columns = manifest.inputs[0].shape[1]
    if not len(features.features) == len(scaler.mean) == columns:
        raise ManifestInvalid(
            f"the input has {columns} columns, {manifest.pipeline.features} names {len(features.features)}, "
            f"{manifest.pipeline.scaler} scales {len(scaler.mean)}"
        )
    graph = artifacts[ONNX_ARTIFACT]
    _check_size(graph, MAX_GRAPH_BYTES)
    inspect_onnx(b"".join(read(graph.sha256)), manifest)
    return Tabular(features, scaler)


def schema_json(manifest: Manifest, tabular: Tabular | None) -> str:
    """What a caller must know of the interface: its task, inputs, outputs and limits, and what its task adds."""
    interface = {
        "task": manifest.task,
        **manifest.model_dump(mode="json", include={"inputs", "outputs", "limits"}),
    }
    if (text := manifest.generation or manifest.embedding) is not None:
        interface.update(described(text))
        limits = text.model_dump(include={"max_input_tokens", "max_output_tokens", "dimensions"})
        interface["limits"].update(limits)
    if tabular is not None:
        interface["features"] = tabular.features.model_dump(mode="json")["features"]
    return json.dumps(interface, sort_keys=True, separators=(",", ":"))


def typical_row(manifest: Manifest, tabular: Tabular | None) -> NDArray[np.float32]:
    """One row `[1, columns] float32` that the model must answer: the mean, or zeros where nothing is known.

    A text model is asked in words instead.
    """
    if manifest.runner in TEXT_RUNNERS:
        return np.zeros((0, 0), np.float32)
    if tabular is None:
        return np.zeros((1, *manifest.inputs[0].shape[1:]), np.float32)
    low, high = ([getattr(f, side) for f in tabular.features.features] for side in ("minimum", "maximum"))
    row: NDArray[np.float32] = np.clip(np.array([tabular.scaler.mean]), low, high).astype(np.float32)
    return row


def inspect_onnx(body: bytes, manifest: Manifest) -> None:
    """Raises ManifestInvalid unless the graph is complete in itself and has the manifest's inputs and outputs."""
    inspect_graph(
        body,
        [Side(t.name, t.datatype, tuple(t.shape)) for t in manifest.inputs],
        [Side(t.name, t.datatype, tuple(t.shape)) for t in manifest.outputs],
    )


def inspect_graph(body: bytes, inputs: Sequence[Side], outputs: Sequence[Side]) -> None:
    """Raises ManifestInvalid unless the graph is complete in itself and has these inputs and outputs.

    External data is refused: such a tensor names a file to read, and beside a graph lie other publishers' weights.
    """
    try:
        model = ModelProto.FromString(body)
    except DecodeError as error:
        raise ManifestInvalid(f"{ONNX_ARTIFACT}: no ONNX model") from error
    domains = {o.domain for o in model.opset_import} | {n.domain for n in _nodes(model.graph)}
    if foreign := sorted(domains - OPERATOR_DOMAINS):
        raise ManifestInvalid(f"{ONNX_ARTIFACT}: operators of {', '.join(foreign)} are not served")
    if model.functions:
        raise ManifestInvalid(f"{ONNX_ARTIFACT}: functions of its own are not served")
    if any(t.data_location == TensorProto.EXTERNAL or t.external_data for t in _tensors(model.graph)):
        raise ManifestInvalid(f"{ONNX_ARTIFACT}: a tensor's data lies outside of the file")
    constants = {t.name for t in model.graph.initializer}
    _compare([v for v in model.graph.input if v.name not in constants], inputs, "input")
    _compare(list(model.graph.output), outputs, "output")


def _inspect_text(manifest: Manifest, read: ReadArtifact) -> None:
    artifacts = {a.name: a for a in manifest.artifacts}
    tokenizer, graph = artifacts[TOKENIZER_ARTIFACT], artifacts[ONNX_ARTIFACT]
    _check_size(tokenizer, MAX_TOKENIZER_BYTES)
    _check_size(graph, MAX_GRAPH_BYTES)
    vocabulary = inspect_tokenizer(b"".join(read(tokenizer.sha256)), manifest)
    inputs, outputs = text_graph(manifest, vocabulary)
    inspect_graph(b"".join(read(graph.sha256)), inputs, outputs)


def _check_size(artifact: Artifact, limit_bytes: int) -> None:
    if artifact.size_bytes > limit_bytes:
        raise ManifestInvalid(
            f"{artifact.name}: {artifact.size_bytes} bytes, at most {limit_bytes} are allowed"
        )


def _parsed(kind: type[Parsed], artifact: Artifact, read: ReadArtifact) -> Parsed:
    _check_size(artifact, MAX_BYTES)
    try:
        return kind.model_validate_json(b"".join(read(artifact.sha256)))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ManifestInvalid(f"{artifact.name}: {where or 'file'}: {first['msg']}") from error


def _compare(found: list[ValueInfoProto], wanted: Sequence[Side], what: str) -> None:
    have = {v.name: v.type.tensor_type for v in found}
    if set(have) != {t.name for t in wanted}:
        raise ManifestInvalid(
            f"{ONNX_ARTIFACT}: {what}s are {sorted(have)}, not {sorted(t.name for t in wanted)}"
        )
    for tensor in wanted:
        kind = have[tensor.name]
        shape = [d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim]
        fits = len(shape) == len(tensor.shape) and all(
            s in (-1, t) for s, t in zip(shape, tensor.shape, strict=True)
        )
        if kind.elem_type != _DATATYPES[tensor.datatype] or not fits:
            raise ManifestInvalid(
                f"{ONNX_ARTIFACT}: {what} {tensor.name} is not {tensor.datatype} {list(tensor.shape)}"
            )


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """The graph and the bodies of its branches and loops, however deep."""
    waiting = [graph]
    while waiting:
        current = waiting.pop()
        yield current
        for attribute in _attributes(current.node):
            waiting += [attribute.g] if attribute.HasField("g") else []
            waiting += attribute.graphs


def _attributes(nodes: Iterable[NodeProto]) -> Iterator[AttributeProto]:
    for node in nodes:
        yield from node.attribute


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for part in _graphs(graph):
        yield from part.node


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    for part in _graphs(graph):
        yield from part.initializer
        for sparse in part.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for attribute in _attributes(part.node):
            yield from ([attribute.t] if attribute.HasField("t") else [])
            yield from attribute.tensors
            for sparse in ([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []) + list(
                attribute.sparse_tensors
            ):
                yield from (sparse.values, sparse.indices)
