import hashlib
import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licet_schemas.manifest import (
    ITEM_BYTES,
    MAX_BYTES,
    MAX_ROW_BYTES,
    ManifestError,
    canonical,
    canonical_json,
    digest,
    parse,
)

SHA = "0x" + "ab" * 32
ONNX: dict[str, Any] = {
    "format": "licet.manifest/1",
    "name": "tumour-risk",
    "kind": "model",
    "summary": "Risiko, größer als 0",
    "runner": "onnx",
    "artifacts": [
        {"name": "model.onnx", "sha256": SHA, "size_bytes": 12},
        {"name": "features.json", "sha256": SHA, "size_bytes": 3},
        {"name": "scaler.json", "sha256": SHA, "size_bytes": 4},
    ],
    "pipeline": {"features": "features.json", "scaler": "scaler.json"},
    "inputs": [{"name": "FEATURES", "datatype": "FP32", "shape": [-1, 30]}],
    "outputs": [{"name": "PROBABILITIES", "datatype": "FP32", "shape": [-1, 2]}],
    "metering_rule": "rows:FEATURES",
    "limits": {"max_batch": 256},
    "licenses": [{"part": "data", "spdx": "CC-BY-4.0", "source": "somewhere"}],
    "metrics": {"auc": "0.9939"},
}
IDENTITY: dict[str, Any] = {
    **ONNX,
    "summary": "same",
    "runner": "identity",
    "artifacts": [],
    "pipeline": None,
    "inputs": [{"name": "IN", "datatype": "FP32", "shape": [-1, 256]}],
    "outputs": [{"name": "OUT", "datatype": "FP32", "shape": [-1, 256]}],
    "metering_rule": "request",
    "limits": {"max_batch": 0},
    "metrics": {},
}
# Written by hand from RFC 8785: keys sorted, nothing between tokens, UTF-8 as it is.
IDENTITY_BYTES = (
    b'{"artifacts":[],"format":"licet.manifest/1","inputs":[{"datatype":"FP32","name":"IN","shape":[-1,256]}],'
    b'"kind":"model","licenses":[{"part":"data","source":"somewhere","spdx":"CC-BY-4.0"}],"limits":{"max_batch":0},'
    b'"metering_rule":"request","metrics":{},"name":"tumour-risk",'
    b'"outputs":[{"datatype":"FP32","name":"OUT","shape":[-1,256]}],"pipeline":null,"runner":"identity","summary":"same"}'
)


def changed(path: str, value: object, base: dict[str, Any] = ONNX) -> dict[str, Any]:
    """A copy with one field, named like `inputs.0.name`, replaced."""
    copy = deepcopy(base)
    *parents, last = path.split(".")
    node: Any = copy
    for part in parents:
        node = node[int(part) if part.isdigit() else part]
    node[int(last) if last.isdigit() else last] = value
    return copy


def test_canonical_bytes_are_those_of_rfc_8785() -> None:
    assert canonical(IDENTITY) == IDENTITY_BYTES
    assert digest(IDENTITY) == "0x" + hashlib.sha256(IDENTITY_BYTES).hexdigest()


def test_order_and_spacing_of_the_source_do_not_change_the_digest() -> None:
    shuffled = json.dumps(dict(reversed(ONNX.items())), indent=3)
    assert digest(parse(shuffled)) == digest(ONNX)
    assert "größer".encode() in canonical(ONNX)


def test_order_of_a_list_changes_the_digest() -> None:
    assert digest(changed("artifacts", ONNX["artifacts"][::-1])) != digest(ONNX)


def test_strings_are_escaped_as_rfc_8785_says() -> None:
    assert (
        canonical_json({"s": '€$\x0f\nA\'B"\\\\"/\x7f'})
        == '{"s":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/\x7f"}'.encode()
    )


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("metrics", {"auc": 0.99}, "decimal strings"),
        ("limits.max_batch", 1 << 53, "beyond 2\\^53"),
        ("limits.max_batch", True, "limits.max_batch"),
        ("limits.max_batch", 0, "max_batch of at least 1"),
        ("limits.max_batch", 5000, "limits.max_batch"),
        ("name", "Tumour", "name"),
        ("format", "licet.manifest/2", "format"),
        ("runner", "python", "runner"),
        ("extra", 1, "extra"),
        ("summary", "\ud800", "surrogate"),
        ("artifacts.0.name", "../model.onnx", "artifacts.0.name"),
        ("artifacts.0.name", "model.py", "the runner and its pipeline need"),
        ("artifacts.0.sha256", SHA.upper(), "artifacts.0.sha256"),
        ("artifacts.1", ONNX["artifacts"][0], "names repeat"),
        ("artifacts.0.size_bytes", -1, "size_bytes"),
        ("pipeline", None, "needs a pipeline"),
        ("pipeline.scaler", "features.json", "the runner and its pipeline need"),
        ("inputs.0.shape", [-1, -1], "first dimension"),
        ("inputs.0.shape", [-1], "shape"),
        ("inputs.0.shape", [-1, (MAX_ROW_BYTES >> 2) + 1], "a row of FEATURES has 16777220 bytes"),
        ("outputs.0.shape", [-1, 1 << 31], "a row of PROBABILITIES has 8589934592 bytes"),
        ("outputs.0.shape", [-1, 1 << 31, 1 << 31, 1 << 31], "a row of PROBABILITIES"),
        ("inputs.0.datatype", "INT64", "FP32"),
        ("metering_rule", "rows:X", "no input"),
        ("metering_rule", "tokens", "metering_rule"),
        ("licenses", [], "licenses"),
        ("metrics", {"auc": "1e5"}, "metrics.auc"),
        ("outputs.0.name", "FEATURES", "names repeat"),
    ],
)
def test_a_broken_manifest_is_refused_with_its_field(path: str, value: object, says: str) -> None:
    with pytest.raises(ManifestError, match=says):
        canonical(changed(path, value))


@pytest.mark.parametrize(
    "text",
    [
        b'{"summary":"first",' + json.dumps(ONNX).encode()[1:],
        b'{"a":NaN}',
        b"[1]",
        b"{",
        b"\xff",
        b"[" * 5000,
        b'"' + b"x" * (3 * MAX_BYTES) + b'"',
        json.dumps({"summary": "x" * (MAX_BYTES + 1)}).encode(),
    ],
    ids=["key twice", "NaN", "array", "cut", "not UTF-8", "deep", "huge text", "huge string"],
)
def test_text_that_is_no_manifest_is_refused(text: bytes) -> None:
    with pytest.raises(ManifestError):
        parse(text)


def test_a_row_may_be_as_wide_as_is_allowed_in_either_datatype() -> None:
    for datatype, size in ITEM_BYTES.items():
        tensor = {"datatype": datatype, "shape": [-1, MAX_ROW_BYTES // size]}
        wide = {
            **IDENTITY,
            "inputs": [{**tensor, "name": "IN"}],
            "outputs": [{**tensor, "name": "OUT"}],
        }
        parse(wide)
        tensor["shape"] = [2, MAX_ROW_BYTES // size]
        with pytest.raises(ManifestError, match="a row of IN"):
            parse({**wide, "inputs": [{**tensor, "name": "IN"}]})


def test_identity_takes_no_artifacts() -> None:
    with pytest.raises(ManifestError, match="neither artifacts nor a pipeline"):
        parse(changed("artifacts", ONNX["artifacts"], IDENTITY))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(max_codepoint=127), max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(st.characters(max_codepoint=127), max_size=8), PLAIN, max_size=4))
def test_canonical_json_reads_back_and_is_stable(value: dict[str, Any]) -> None:
    body = canonical_json(value)
    assert json.loads(body) == value
    assert canonical_json(json.loads(body)) == body
