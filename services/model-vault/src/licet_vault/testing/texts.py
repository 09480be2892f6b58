"""Text models whose every answer follows by hand: an alphabet that counts on, and vectors of bytes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from licet_schemas import manifest as manifests
from licet_schemas.manifest import digest_bytes
from onnx import ModelProto, TensorProto, helper, numpy_helper

BEGIN, END = "<|begin|>", "<|end|>"
TOKENS = 258
BEGIN_ID, END_ID = 256, 257
STATE = 2
DIMENSIONS = 3
MAX_INPUT, MAX_OUTPUT, MAX_STREAMS = 64, 40, 4


def byte_characters() -> list[str]:
    """The character that stands for each byte in a byte-level vocabulary, by the bytes' order."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


def tokenizer() -> dict[str, Any]:
    """A token for each byte, with the byte's own number, and two special ones."""
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "added_tokens": [
            {"id": BEGIN_ID, "content": BEGIN, **special},
            {"id": END_ID, "content": END, **special},
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": True,
        },
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "BPE",
            "vocab": {character: byte for byte, character in enumerate(byte_characters())},
            "merges": [],
        },
    }


def counting_table() -> np.ndarray[Any, np.dtype[np.float32]]:
    """After a byte comes the next one: `a` is followed by `b`, `z` by the end, `~` by a euro sign and `!`.

    Byte 1 is followed by what is no figure.
    """
    table = np.zeros((TOKENS, TOKENS), np.float32)
    follows = {**{byte: (byte + 1) % 256 for byte in range(256)}, BEGIN_ID: 97, END_ID: END_ID}
    follows.update({ord("z"): END_ID, ord("~"): 0xE2, 0xE2: 0x82, 0x82: 0xAC, 0xAC: ord("!")})
    for token, following in follows.items():
        table[token, following] = 10
    table[1] = np.nan
    return table


def counting_graph(*, silent: bool = False) -> ModelProto:
    """One step: the table's row; the state counts steps. A silent one says nothing that is a figure."""
    nodes = [
        helper.make_node("Gather", ["table", "TOKEN"], ["LOGITS"], axis=0),
        helper.make_node("Add", ["STATE", "one"], ["NEXT_STATE"]),
    ]
    table = np.full_like(counting_table(), np.nan) if silent else counting_table()
    constants = {"table": table, "one": np.ones(1, np.float32)}
    return _model(
        nodes,
        [_side("TOKEN", TensorProto.INT64, ["n"]), _side("STATE", TensorProto.FLOAT, ["n", STATE])],
        [
            _side("LOGITS", TensorProto.FLOAT, ["n", TOKENS]),
            _side("NEXT_STATE", TensorProto.FLOAT, ["n", STATE]),
        ],
        constants,
    )


def vector_graph() -> ModelProto:
    """The mean of the tokens' vectors; byte `b` has `(b, b mod 7, 1)`."""
    numbers = np.arange(TOKENS)
    table = np.stack([numbers, numbers % 7, np.ones(TOKENS)], axis=1).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "TOKENS"], ["vectors"], axis=0),
        helper.make_node("Cast", ["MASK"], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weights", "last"], ["columns"]),
        helper.make_node("Mul", ["vectors", "columns"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["sums"], keepdims=0),
        helper.make_node("ReduceSum", ["columns", "middle"], ["counts"], keepdims=0),
        helper.make_node("Div", ["sums", "counts"], ["EMBEDDING"]),
    ]
    constants = {"table": table, "last": np.array([-1]), "middle": np.array([1])}
    return _model(
        nodes,
        [_side(name, TensorProto.INT64, ["n", "length"]) for name in ("TOKENS", "MASK")],
        [_side("EMBEDDING", TensorProto.FLOAT, ["n", DIMENSIONS])],
        constants,
    )


def generator_files(**changes: Any) -> dict[str, bytes]:
    """Manifest and artefacts of the alphabet; `changes` replace fields of its `generation`."""
    turns = {role: {"before": f"{role[0]}:", "after": "\n"} for role in ("system", "user", "assistant")}
    generation = {
        "max_input_tokens": MAX_INPUT,
        "max_output_tokens": MAX_OUTPUT,
        "state": STATE,
        "begin": BEGIN,
        "end": [END],
        "chat": {**turns, "reply": f"{END}a"},
        **changes,
    }
    return _files("text-generation", counting_graph(), {"generation": generation})


def embedding_files(**changes: Any) -> dict[str, bytes]:
    """Manifest and artefacts of the vectors of bytes; `changes` replace fields of its `embedding`."""
    embedding = {"max_input_tokens": MAX_INPUT, "dimensions": DIMENSIONS, **changes}
    return _files("text-embedding", vector_graph(), {"embedding": embedding})


def _files(runner: str, graph: ModelProto, part: dict[str, Any]) -> dict[str, bytes]:
    artifacts = {"model.onnx": graph.SerializeToString(), "tokenizer.json": json.dumps(tokenizer()).encode()}
    document = {
        "format": "licet.manifest/1",
        "name": "alphabet",
        "kind": "model",
        "summary": "Counts on.",
        "runner": runner,
        "artifacts": [
            {"name": name, "sha256": digest_bytes(body), "size_bytes": len(body)}
            for name, body in sorted(artifacts.items())
        ],
        "pipeline": None,
        "inputs": [],
        "outputs": [],
        "metering_rule": "input_tokens",
        "limits": {"max_batch": MAX_STREAMS},
        "licenses": [{"part": "weights", "spdx": "Apache-2.0", "source": "written by hand"}],
        "metrics": {},
        **part,
    }
    return {**artifacts, "manifest.json": manifests.canonical(document)}


def _side(name: str, kind: int, shape: list[str | int]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Any]) -> ModelProto:
    graph = helper.make_graph(
        nodes, "step", inputs, outputs, [numpy_helper.from_array(v, n) for n, v in constants.items()]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
