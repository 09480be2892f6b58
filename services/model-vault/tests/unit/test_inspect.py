from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from licet_schemas.manifest import Manifest, digest_bytes, parse
from licet_vault.domain import ManifestInvalid
from licet_vault.repository.inspect import MAX_GRAPH_BYTES, inspect, inspect_onnx
from onnx import TensorProto, helper, numpy_helper

Graph = onnx.ModelProto


def reader(files: dict[str, bytes]) -> Callable[[str], Iterator[bytes]]:
    by_digest = {digest_bytes(body): body for body in files.values()}
    return lambda sha256: iter([by_digest[sha256]])


def with_file(manifest: Manifest, name: str, body: bytes) -> Manifest:
    document = manifest.model_dump(mode="json")
    for artifact in document["artifacts"]:
        if artifact["name"] == name:
            artifact.update(sha256=digest_bytes(body), size_bytes=len(body))
    return parse(document)


def test_the_trained_example_is_accepted(tumour_files: dict[str, bytes], tumour_manifest: Manifest) -> None:
    inspect(tumour_manifest, reader(tumour_files))


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("features.json", b"{}", "features.json"),
        ("features.json", b"\x80", "features.json"),
        ("scaler.json", b'{"format":"licet.scaler/1","kind":"standard","mean":[1],"scale":[0]}', "scale.0"),
        (
            "scaler.json",
            b'{"format":"licet.scaler/1","kind":"standard","mean":[1.0],"scale":[1.0]}',
            "scales 1",
        ),
        ("model.onnx", b"import os", "model.onnx"),
    ],
)
def test_an_artefact_that_is_not_what_it_should_be_is_refused(
    name: str, body: bytes, says: str, tumour_files: dict[str, bytes], tumour_manifest: Manifest
) -> None:
    with pytest.raises(ManifestInvalid, match=says):
        inspect(with_file(tumour_manifest, name, body), reader({**tumour_files, name: body}))


def _external(graph: Graph) -> None:
    tensor = graph.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../other.model-0/1/model.onnx")


def _external_in_a_branch(graph: Graph) -> None:
    constant = numpy_helper.from_array(np.zeros(2, np.float32), "c")
    constant.data_location = TensorProto.EXTERNAL
    branch = helper.make_graph([helper.make_node("Constant", [], ["b"], value=constant)], "branch", [], [])
    graph.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch))


def _foreign_operator(graph: Graph) -> None:
    graph.graph.node.append(helper.make_node("Run", ["x"], ["z"], domain="com.publisher"))


def _function(graph: Graph) -> None:
    graph.functions.append(helper.make_function("ai.onnx", "F", ["a"], ["b"], [], []))


def _other_input(graph: Graph) -> None:
    graph.graph.input[0].name = "X"


def _wider_output(graph: Graph) -> None:
    graph.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3


def _other_type(graph: Graph) -> None:
    graph.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def _second_output(graph: Graph) -> None:
    graph.graph.output.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [None, 2]))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_external, "outside of the file"),
        (_external_in_a_branch, "outside of the file"),
        (_foreign_operator, "com.publisher"),
        (_function, "functions"),
        (_other_input, "inputs are"),
        (_wider_output, "PROBABILITIES is not"),
        (_other_type, "FEATURES is not"),
        (_second_output, "outputs are"),
    ],
)
def test_a_graph_that_reaches_out_or_differs_is_refused(
    change: Callable[[Graph], None], says: str, tumour_files: dict[str, bytes], tumour_manifest: Manifest
) -> None:
    graph = onnx.load_from_string(tumour_files["model.onnx"])
    change(graph)
    with pytest.raises(ManifestInvalid, match=says):
        inspect_onnx(graph.SerializeToString(), tumour_manifest)


def test_an_oversized_schema_is_refused_before_it_is_read(tumour_manifest: Manifest) -> None:
    document: dict[str, Any] = tumour_manifest.model_dump(mode="json")
    for artifact in document["artifacts"]:
        artifact["size_bytes"] = 2 << 20
    with pytest.raises(ManifestInvalid, match="at most"):
        inspect(parse(document), lambda _: pytest.fail("was read"))


def test_an_oversized_graph_is_refused_before_it_is_read(
    tumour_files: dict[str, bytes], tumour_manifest: Manifest
) -> None:
    document: dict[str, Any] = tumour_manifest.model_dump(mode="json")
    for artifact in document["artifacts"]:
        if artifact["name"] == "model.onnx":
            artifact["size_bytes"] = MAX_GRAPH_BYTES + 1
    read = reader({name: body for name, body in tumour_files.items() if name != "model.onnx"})
    with pytest.raises(ManifestInvalid, match=r"model\.onnx: 134217729 bytes, at most"):
        inspect(parse(document), read)


def test_external_data_would_be_read_by_a_plain_load(tmp_path: Path, tumour_files: dict[str, bytes]) -> None:
    """Why the check exists: the loader follows the location that the publisher wrote."""
    graph = onnx.load_from_string(tumour_files["model.onnx"])
    values = numpy_helper.to_array(graph.graph.initializer[0])
    (tmp_path / "stolen").write_bytes(values.tobytes())
    tensor = graph.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="stolen")
    (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())
    loaded = onnx.load(tmp_path / "model.onnx")
    assert np.array_equal(numpy_helper.to_array(loaded.graph.initializer[0]), values)
