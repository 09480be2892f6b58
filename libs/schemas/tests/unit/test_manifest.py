import hashlib
import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licet_schemas import text
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


GENERATION: dict[str, Any] = {
    **ONNX,
    "runner": "text-generation",
    "artifacts": [
        {"name": "model.onnx", "sha256": SHA, "size_bytes": 12},
        {"name": "tokenizer.json", "sha256": SHA, "size_bytes": 3},
    ],
    "pipeline": None,
    "inputs": [],
    "outputs": [],
    "metering_rule": "output_tokens",
    "limits": {"max_batch": 8},
    "generation": {
        "max_input_tokens": 512,
        "max_output_tokens": 256,
        "state": 64,
        "begin": None,
        "end": ["<|end|>"],
        "chat": {
            "system": {"before": "", "after": "\n"},
            "user": {"before": "Q: ", "after": "\n"},
            "assistant": {"before": "Ä: ", "after": "\n"},
            "reply": "Ä:",
        },
    },
}
EMBEDDING: dict[str, Any] = {
    **{key: value for key, value in GENERATION.items() if key != "generation"},
    "runner": "text-embedding",
    "metering_rule": "rows:text",
    "embedding": {"max_input_tokens": 512, "dimensions": 64},
}


@pytest.mark.parametrize("rule", ["request", "input_tokens", "output_tokens", "bytes", "seconds"])
def test_a_generator_is_counted_by_any_rule_but_rows(rule: str) -> None:
    assert parse(changed("metering_rule", rule, GENERATION)).metering_rule == rule


@pytest.mark.parametrize("rule", ["request", "input_tokens", "rows:text", "bytes", "seconds"])
def test_an_embedding_is_counted_by_any_rule_but_output_tokens(rule: str) -> None:
    assert parse(changed("metering_rule", rule, EMBEDDING)).metering_rule == rule


@pytest.mark.parametrize(
    ("base", "path", "value", "says"),
    [
        (GENERATION, "metering_rule", "rows:text_input", "no input"),
        (GENERATION, "metering_rule", "rows:text", "no input"),
        (EMBEDDING, "metering_rule", "output_tokens", "only runner text-generation"),
        (EMBEDDING, "metering_rule", "rows:embedding", "no input"),
        (ONNX, "metering_rule", "input_tokens", "only a text model"),
        (ONNX, "metering_rule", "output_tokens", "only runner text-generation"),
        (ONNX, "outputs.0.name", "input_tokens", "input_tokens is what text models count by"),
        (ONNX, "outputs.0.name", "output_tokens", "output_tokens is what text models count by"),
        (IDENTITY, "outputs.0.name", "output_tokens", "output_tokens is what text models count by"),
        (IDENTITY, "outputs", [], "at least one output"),
        (IDENTITY, "inputs", [], "one input"),
        (ONNX, "generation", GENERATION["generation"], "generation is what runner text-generation needs"),
        (EMBEDDING, "generation", GENERATION["generation"], "generation is what runner"),
        (GENERATION, "generation", None, "generation is what runner"),
        (GENERATION, "inputs", IDENTITY["inputs"], "inputs and outputs of its own"),
        (GENERATION, "artifacts.1.name", "features.json", "needs \\['model.onnx', 'tokenizer.json'\\]"),
        (GENERATION, "limits.max_batch", 0, "max_batch of at least 1"),
        (GENERATION, "generation.max_output_tokens", 0, "generation.max_output_tokens"),
        (GENERATION, "generation.chat.user.before", "x" * 257, "generation.chat.user.before"),
        (EMBEDDING, "embedding.dimensions", 0, "embedding.dimensions"),
    ],
)
def test_a_text_manifest_that_breaks_a_rule_is_refused(
    base: dict[str, Any], path: str, value: object, says: str
) -> None:
    with pytest.raises(ManifestError, match=says):
        canonical(changed(path, value, base))


def test_a_task_that_is_not_there_leaves_no_trace_in_the_digest() -> None:
    assert digest({**IDENTITY, "generation": None, "embedding": None}) == digest(IDENTITY)
    assert b'"generation"' not in canonical(EMBEDDING)
    assert b'"embedding"' not in canonical(GENERATION)
    assert parse(canonical(GENERATION)) == parse(GENERATION)


def test_callers_are_told_how_many_bytes_a_chat_adds() -> None:
    generation = parse(GENERATION).generation
    assert generation is not None
    assert text.interface(generation)["chat"] == {"fixed": 3, "per_message": 5}
    assert [t["name"] for t in text.interface(generation)["inputs"] if t["optional"]][:2] == [
        "text_input",
        "messages",
    ]
