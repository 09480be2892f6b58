"""Checks that artefacts are the data that their manifest says, before anything is made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from google.protobuf.message import DecodeError
from licet_schemas.features import MAX_BYTES, FeatureSchema, Scaler
from licet_schemas.manifest import ONNX_ARTIFACT, Manifest, Tensor
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto
from pydantic import BaseModel, ValidationError

from licet_vault.domain import ManifestInvalid

# What onnxruntime brings itself; any other domain would ask for code of the publisher.
OPERATOR_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
_DATATYPES = {"FP32": TensorProto.FLOAT, "INT64": TensorProto.INT64}

ReadArtifact = Callable[[str], Iterator[bytes]]
Parsed = TypeVar("Parsed", bound=BaseModel)


def inspect(manifest: Manifest, read: ReadArtifact) -> None:
    """Raises ManifestInvalid unless feature schema, scaler and graph agree with the manifest and each other."""
    if manifest.pipeline is None:
        return
    sizes = {a.name: a.size_bytes for a in manifest.artifacts}
    digests = {a.name: a.sha256 for a in manifest.artifacts}
    for name in (manifest.pipeline.features, manifest.pipeline.scaler):
        if sizes[name] > MAX_BYTES:
            raise ManifestInvalid(f"{name}: {sizes[name]} bytes, at most {MAX_BYTES} are allowed")
    schema = _parsed(FeatureSchema, manifest.pipeline.features, digests, read)
    scaler = _parsed(Scaler, manifest.pipeline.scaler, digests, read)
    columns = manifest.inputs[0].shape[1]
    if not len(schema.features) == len(scaler.mean) == columns:
        raise ManifestInvalid(
            f"the input has {columns} columns, {manifest.pipeline.features} names {len(schema.features)}, "
            f"{manifest.pipeline.scaler} scales {len(scaler.mean)}"
        )
    inspect_onnx(b"".join(read(digests[ONNX_ARTIFACT])), manifest)


def features_json(manifest: Manifest, read: ReadArtifact) -> str:
    """The feature schema as JSON without spaces, empty when the manifest has no pipeline."""
    if manifest.pipeline is None:
        return ""
    digests = {a.name: a.sha256 for a in manifest.artifacts}
    return _parsed(FeatureSchema, manifest.pipeline.features, digests, read).model_dump_json(
        include={"features"}
    )


def inspect_onnx(body: bytes, manifest: Manifest) -> None:
    """Raises ManifestInvalid unless the graph is complete in itself and has the manifest's inputs and outputs.

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
    _compare([v for v in model.graph.input if v.name not in constants], manifest.inputs, "input")
    _compare(list(model.graph.output), manifest.outputs, "output")


def _parsed(kind: type[Parsed], name: str, digests: dict[str, str], read: ReadArtifact) -> Parsed:
    try:
        return kind.model_validate_json(b"".join(read(digests[name])))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ManifestInvalid(f"{name}: {where or 'file'}: {first['msg']}") from error


def _compare(found: list[ValueInfoProto], wanted: list[Tensor], what: str) -> None:
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
                f"{ONNX_ARTIFACT}: {what} {tensor.name} is not {tensor.datatype} {tensor.shape}"
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
