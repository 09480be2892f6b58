"""Builds sentence embeddings from the static token vectors of `wordllama`, and writes manifest and artefacts.

`python -m examples.models.sentence_map.build --out DIR [--json]`

Nothing is trained here: vectors and tokenizer are WordLlama's (MIT), made from the token embeddings of Llama 2 and
other models; the graph is ours. All figures are of the exported graph under onnxruntime.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from licet_schemas import manifest as manifests
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper
from safetensors.numpy import load_file
from sklearn.feature_extraction.text import TfidfVectorizer
from tokenizers import Tokenizer

from examples.models.building import CACHE, artifacts_of, cached, command
from examples.models.sentence_map import texts
from examples.models.sentence_map.texts import PACKAGES, Split, Texts

Floats = NDArray[np.float32]

WEIGHTS = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
VECTORS = "embedding.weight"
MAX_INPUT_TOKENS, MAX_TEXTS = 512, 64
LIBRARIES = ("numpy", "onnx", "scikit-learn", "tokenizers", "wordllama")


def package() -> Path:
    """Where WordLlama's files are; none of its code is run."""
    found = importlib.util.find_spec("wordllama")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("wordllama is not installed")
    return Path(found.submodule_search_locations[0])


def exported(vectors: NDArray[np.float16]) -> ModelProto:
    """The mean of the tokens' vectors, of length 1."""
    nodes = [
        helper.make_node("Gather", ["vectors", "TOKENS"], ["looked_up"], axis=0),
        helper.make_node("Cast", ["looked_up"], ["found"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["MASK"], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weights", "last"], ["columns"]),
        helper.make_node("Mul", ["found", "columns"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["sum"], keepdims=0),
        helper.make_node("ReduceL2", ["sum"], ["length"], axes=[1], keepdims=1),
        helper.make_node("Div", ["sum", "length"], ["EMBEDDING"]),
    ]
    constants = {"vectors": vectors, "last": np.array([-1]), "middle": np.array([1])}
    sides = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "length"])
        for name in ("TOKENS", "MASK")
    ]
    graph = helper.make_graph(
        nodes,
        "embedding",
        sides,
        [helper.make_tensor_value_info("EMBEDDING", TensorProto.FLOAT, ["texts", vectors.shape[1]])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model, full_check=True)
    return model


def embedded(model: bytes, tokenizer: Tokenizer, asked: list[str]) -> Floats:
    """Vectors of texts, one by one, as the platform's runner would call the graph."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    rows = [np.array([tokenizer.encode(text).ids], np.int64) for text in asked]
    return np.concatenate([session.run(None, {"TOKENS": r, "MASK": np.ones_like(r)})[0] for r in rows])


def accuracy(labelled: NDArray[Any], asked: NDArray[Any], split: Split) -> float:
    """Share of the texts whose package's few labelled texts lie nearest, by the mean of their vectors."""
    labels = np.array(split.labelled.labels)
    means = np.stack([labelled[labels == k].mean(axis=0) for k in range(len(PACKAGES))])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return float(((asked @ means.T).argmax(axis=1) == np.array(split.asked.labels)).mean())


def evaluate(model: bytes, tokenizer: Tokenizer, split: Split) -> dict[str, str]:
    """Accuracy of the exported graph and of two baselines on the texts that are not labelled, as decimal strings."""
    few, many = split.labelled, split.asked
    ours = accuracy(embedded(model, tokenizer, few.texts), embedded(model, tokenizer, many.texts), split)
    words = TfidfVectorizer().fit(few.texts)
    counted = accuracy(_dense(words, few), _dense(words, many), split)
    majority = np.bincount(split.asked.labels).max() / len(split.asked.labels)
    return {
        "accuracy": f"{ours:.4f}",
        "baseline_word_counts_accuracy": f"{counted:.4f}",
        "baseline_majority_accuracy": f"{majority:.4f}",
        "asked_texts": str(len(split.asked.texts)),
        "labelled_texts": str(len(split.labelled.texts)),
    }


def _dense(words: TfidfVectorizer, part: Texts) -> NDArray[Any]:
    return np.asarray(words.transform(part.texts).toarray())


def manifest(artifacts: dict[str, bytes], metrics: dict[str, str], dimensions: int) -> dict[str, Any]:
    """The manifest that names these artefacts by their digests."""
    return {
        "format": "licet.manifest/1",
        "name": "sentence-map",
        "kind": "model",
        "summary": "Where a short text lies among others: WordLlama's static token vectors, averaged.",
        "runner": "text-embedding",
        "artifacts": artifacts_of(artifacts),
        "pipeline": None,
        "inputs": [],
        "outputs": [],
        "metering_rule": "input_tokens",
        "limits": {"max_batch": MAX_TEXTS},
        "licenses": [
            {"part": "weights", "spdx": "MIT", "source": f"wordllama {version('wordllama')}, {WEIGHTS}"},
            {"part": "code", "spdx": "Apache-2.0", "source": "examples/models/sentence_map/build.py"},
        ],
        "metrics": metrics,
        "embedding": {"max_input_tokens": MAX_INPUT_TOKENS, "dimensions": dimensions},
    }


def build() -> dict[str, bytes]:
    """Exports, measures and returns every file by name."""
    vectors = load_file(package() / WEIGHTS)[VECTORS]
    source = (package() / TOKENIZER).read_bytes()
    model = exported(vectors).SerializeToString()
    metrics = evaluate(model, Tokenizer.from_str(source.decode()), texts.load())
    artifacts = {"model.onnx": model, "tokenizer.json": source}
    described = manifest(artifacts, metrics, vectors.shape[1])
    return {**artifacts, "manifest.json": manifests.canonical(described)}


def cache_key() -> str:
    """Changes with these programs, the texts and the libraries that shape the result."""
    parts = hashlib.sha256()
    for module in (__file__, texts.__file__):
        parts.update(Path(module).read_bytes())
    split = texts.load()
    parts.update("\0".join([*split.labelled.texts, *split.asked.texts]).encode())
    parts.update(" ".join(f"{name}={version(name)}" for name in LIBRARIES).encode())
    return parts.hexdigest()[:16]


def built(cache: Path = CACHE) -> Path:
    """The folder with the built files; builds only when no run with this key has finished."""
    return cached(cache, f"sentence-map-{cache_key()}", build)


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    return command(__doc__ or "", argv, built)


if __name__ == "__main__":
    sys.exit(main())
