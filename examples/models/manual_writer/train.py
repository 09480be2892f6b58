"""Trains the text generator and writes its manifest and artefacts.

`python -m examples.models.manual_writer.train --out DIR [--json]`

It continues a text in the words of Python's manual. All figures are of the exported graph under onnxruntime, on
sections that training never saw.
"""

from __future__ import annotations

import hashlib
import math
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from licet_schemas import manifest as manifests
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper
from tokenizers import Tokenizer

from examples.models.building import CACHE, artifacts_of, cached, command
from examples.models.manual_writer import network, text
from examples.models.manual_writer.network import CONTEXT, WIDTH, Weights
from examples.models.manual_writer.text import BEGIN, END

SEED = 20
MAX_INPUT_TOKENS, MAX_OUTPUT_TOKENS, MAX_STREAMS = 512, 512, 16
STATE = CONTEXT * WIDTH
LIBRARIES = ("numpy", "onnx", "tokenizers")
# How many cases the shorter context counts as; the best of 5, 20 and 50 on the held-out text, to the baseline's favour.
TRUST = 20.0


def exported(weights: Weights) -> ModelProto:
    """One step as a graph: the oldest vector leaves the state, the new token's comes in."""
    constants: dict[str, NDArray[Any]] = {
        "vectors": weights.vectors,
        "inward": weights.inward,
        "inward_bias": weights.inward_bias,
        "outward": weights.outward,
        "outward_bias": weights.outward_bias,
        "from": np.array([WIDTH], np.int64),
        "to": np.array([STATE], np.int64),
        "axis": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["vectors", "TOKEN"], ["new"], axis=0),
        helper.make_node("Slice", ["STATE", "from", "to", "axis"], ["kept"]),
        helper.make_node("Concat", ["kept", "new"], ["NEXT_STATE"], axis=1),
        helper.make_node("Gemm", ["NEXT_STATE", "inward", "inward_bias"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "outward", "outward_bias"], ["LOGITS"]),
    ]
    tokens = len(weights.vectors)
    graph = helper.make_graph(
        nodes,
        "step",
        [_side("TOKEN", TensorProto.INT64, []), _side("STATE", TensorProto.FLOAT, [STATE])],
        [_side("LOGITS", TensorProto.FLOAT, [tokens]), _side("NEXT_STATE", TensorProto.FLOAT, [STATE])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model, full_check=True)
    return model


def _side(name: str, kind: int, rest: list[int]) -> Any:
    return helper.make_tensor_value_info(name, kind, ["streams", *rest])


def numbered(made: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Texts as tokens, each with its end."""
    end = text.number(made, END)
    return [[*encoded.ids, end] for encoded in made.encode_batch(texts)]


def perplexity(model: bytes, texts: list[list[int]], begin: int) -> float:
    """Of the graph, step by step from a state of zeros as the platform runs it; all texts side by side."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    rows = [np.array([begin, *t], np.int64) for t in texts]
    states = np.zeros((len(rows), STATE), np.float32)
    told = 0.0
    for at in range(max(len(row) for row in rows) - 1):
        live = [i for i, row in enumerate(rows) if at + 1 < len(row)]
        given = {"TOKEN": np.array([rows[i][at] for i in live]), "STATE": states[live]}
        logits, states[live] = session.run(["LOGITS", "NEXT_STATE"], given)
        logits = logits.astype(np.float64)
        top = logits.max(axis=1)
        sums = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top
        told += float((sums - logits[np.arange(len(live)), [rows[i][at + 1] for i in live]]).sum())
    return math.exp(told / sum(len(t) for t in texts))


def baselines(
    train: tuple[NDArray[np.int64], NDArray[np.int64]],
    held_out: tuple[NDArray[np.int64], NDArray[np.int64]],
    tokens: int,
) -> dict[str, float]:
    """Perplexity of counting: of single tokens, and of one after another, each mixed with the shorter one's."""
    before, after = train
    asked_before, asked = held_out
    single = (np.bincount(after, minlength=tokens) + 1.0) / (len(after) + tokens)
    pairs = np.zeros((tokens, tokens))
    np.add.at(pairs, (before[:, -1], after), 1)
    last = asked_before[:, -1]
    pair = (pairs[last, asked] + TRUST * single[asked]) / (pairs[last].sum(axis=1) + TRUST)
    return {
        "baseline_single_tokens_perplexity": math.exp(-np.log(single[asked]).mean()),
        "baseline_token_pairs_perplexity": math.exp(-np.log(pair).mean()),
    }


def manifest(artifacts: dict[str, bytes], metrics: dict[str, str]) -> dict[str, Any]:
    """The manifest that names these artefacts by their digests."""
    turn = {"before": "", "after": "\n\n"}
    return {
        "format": "licet.manifest/1",
        "name": "manual-writer",
        "kind": "model",
        "summary": "Continues a text in the words of Python's manual. For demonstration: it knows words, not facts.",
        "runner": "text-generation",
        "artifacts": artifacts_of(artifacts),
        "pipeline": None,
        "inputs": [],
        "outputs": [],
        "metering_rule": "output_tokens",
        "limits": {"max_batch": MAX_STREAMS},
        "licenses": [
            {
                "part": "data",
                "spdx": "PSF-2.0",
                "source": "pydoc_data.topics of Python's standard library",
            },
            {"part": "weights", "spdx": "PSF-2.0", "source": "examples/models/manual_writer/train.py"},
        ],
        "metrics": metrics,
        "generation": {
            "max_input_tokens": MAX_INPUT_TOKENS,
            "max_output_tokens": MAX_OUTPUT_TOKENS,
            "state": STATE,
            "begin": BEGIN,
            "end": [END],
            "chat": {"system": turn, "user": turn, "assistant": turn, "reply": ""},
        },
    }


def build() -> dict[str, bytes]:
    """Trains, measures and returns every file by name."""
    split = text.load()
    made = text.tokenizer(split.train)
    begin, tokens = text.number(made, BEGIN), made.get_vocab_size()
    train, held_out = numbered(made, split.train), numbered(made, split.held_out)
    cases, asked = network.windows(train, begin), network.windows(held_out, begin)
    weights = network.train(*cases, tokens, SEED)
    model = exported(weights).SerializeToString()
    figures = {"perplexity": perplexity(model, held_out, begin), **baselines(cases, asked, tokens)}
    metrics = {
        **{name: f"{value:.2f}" for name, value in figures.items()},
        "held_out_tokens": str(len(asked[1])),
        "training_tokens": str(len(cases[1])),
    }
    artifacts = {"model.onnx": model, "tokenizer.json": made.to_str().encode()}
    return {**artifacts, "manifest.json": manifests.canonical(manifest(artifacts, metrics))}


def cache_key() -> str:
    """Changes with these programs, the text and the libraries that shape the result."""
    parts = hashlib.sha256()
    for module in (__file__, network.__file__, text.__file__):
        parts.update(Path(module).read_bytes())
    split = text.load()
    parts.update("\0".join([*split.train, *split.held_out]).encode())
    parts.update(" ".join(f"{name}={version(name)}" for name in LIBRARIES).encode())
    return parts.hexdigest()[:16]


def trained(cache: Path = CACHE) -> Path:
    """The folder with the trained files; trains only when no run with this key has finished."""
    return cached(cache, f"manual-writer-{cache_key()}", build)


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    return command(__doc__ or "", argv, trained)


if __name__ == "__main__":
    sys.exit(main())
