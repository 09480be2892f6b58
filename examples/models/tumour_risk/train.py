"""Trains the tumour risk model and writes its manifest and artefacts.

`python -m examples.models.tumour_risk.train --out DIR [--json]`

Data: Breast Cancer Wisconsin (Diagnostic), 569 cases, as scikit-learn carries it. The model is a small neural network
on standardised features, exported to ONNX; its scaler and feature schema are data that run in front of it. All
figures are of the exported files under onnxruntime, on the 30 % of the cases that training never saw.
"""

from __future__ import annotations

import hashlib
import math
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from licet_schemas import manifest as manifests
from licet_schemas.features import Feature, FeatureSchema, Scaler
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto
from onnx.helper import make_tensor_value_info
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from skl2onnx.helpers.onnx_helper import select_model_inputs_outputs
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from examples.models.building import cached, command

Floats = NDArray[np.float64]

SEED = 20
HELD_OUT = 0.3
HIDDEN = (16, 8)
MAX_BATCH = 256
INPUT, OUTPUT = "FEATURES", "PROBABILITIES"
# A case may lie beyond what the training cases show, but not far: the network would extrapolate silently.
RANGE_MARGIN = 1.5
UNITS = {"radius": "image unit", "perimeter": "image unit", "area": "image unit^2"}
LIBRARIES = ("numpy", "scikit-learn", "skl2onnx", "onnx")


@dataclass(frozen=True, slots=True)
class Cases:
    """Features `x: [cases, 30]` and labels `y: [cases]`, 1 where the mass is malignant."""

    x: Floats
    y: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Split:
    """The cases for training and those held out."""

    names: tuple[str, ...]
    train: Cases
    held_out: Cases


def load() -> Split:
    """The data set, split once and for all by a fixed seed, with equal shares of malignant cases."""
    data = load_breast_cancer()
    x, y = data.data.astype(np.float32).astype(np.float64), 1 - data.target.astype(np.int64)
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=HELD_OUT, random_state=SEED, stratify=y
    )
    return Split(tuple(str(n) for n in data.feature_names), Cases(x_train, y_train), Cases(x_test, y_test))


def feature_schema(split: Split) -> FeatureSchema:
    """Names, units and accepted ranges; the standard errors are the ones that a caller may leave out (NaN)."""
    features = []
    for name, column in zip(split.names, split.train.x.T, strict=True):
        quantity = name.removeprefix("mean ").removeprefix("worst ").removesuffix(" error")
        features.append(
            Feature(
                name=name,
                dtype="float32",
                unit=UNITS.get(quantity, "1"),
                minimum=0.0,
                maximum=_two_digits(float(column.max()) * RANGE_MARGIN),
                required=not name.endswith(" error"),
            )
        )
    return FeatureSchema(format="licet.features/1", features=features)


def _two_digits(value: float) -> float:
    return round(value, 1 - math.floor(math.log10(value)))


def fit_scaler(train: Cases) -> Scaler:
    """Mean and deviation of each training column."""
    fitted = StandardScaler().fit(train.x)
    return Scaler(
        format="licet.scaler/1", kind="standard", mean=fitted.mean_.tolist(), scale=fitted.scale_.tolist()
    )


def scale(scaler: Scaler, x: Floats) -> NDArray[np.float32]:
    """What the pipeline hands to the model: `[rows, 30] float32`, missing values filled by the mean."""
    mean = np.asarray(scaler.mean)
    standardised: Floats = (np.where(np.isnan(x), mean, x) - mean) / np.asarray(scaler.scale)
    return standardised.astype(np.float32)


def fit(scaler: Scaler, train: Cases) -> ModelProto:
    """The trained network as ONNX: FEATURES `[rows, 30] float32` to PROBABILITIES `[rows, 2] float32`."""
    network = MLPClassifier(HIDDEN, alpha=0.1, solver="lbfgs", max_iter=500, random_state=SEED)
    network.fit(scale(scaler, train.x), train.y)
    exported = to_onnx(
        network,
        initial_types=[(INPUT, FloatTensorType([None, train.x.shape[1]]))],
        final_types=[("LABEL", None), (OUTPUT, None)],
        options={"zipmap": False},
        target_opset=17,
    )
    model: ModelProto = select_model_inputs_outputs(exported, [OUTPUT])
    # The cut loses the output's type, which those who check the graph before they serve it want to see.
    model.graph.output[0].CopyFrom(make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, 2]))
    # What only the dropped label used stays behind in the file, and onnxruntime warns of it at each load.
    used = {name for node in model.graph.node for name in node.input}
    for unused in [tensor for tensor in model.graph.initializer if tensor.name not in used]:
        model.graph.initializer.remove(unused)
    return model


def evaluate(model: bytes, scaler: Scaler, split: Split) -> dict[str, str]:
    """Held-out accuracy and AUC of the exported model and of the two baselines, as decimal strings."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    test, train = split.held_out, split.train

    def risk(x: Floats) -> NDArray[np.float32]:
        (probabilities,) = session.run([OUTPUT], {INPUT: scale(scaler, x)})
        return np.asarray(probabilities)[:, 1]

    partial = test.x.copy()
    partial[:, [i for i, name in enumerate(split.names) if name.endswith(" error")]] = np.nan
    majority = int(train.y.mean() >= 0.5)
    single = _best_single_feature(train)
    column = LogisticRegression(max_iter=1000).fit(train.x[:, [single]], train.y)
    return {
        "accuracy": _figure(((risk(test.x) >= 0.5) == test.y).mean()),
        "auc": _figure(roc_auc_score(test.y, risk(test.x))),
        "auc_without_optional_features": _figure(roc_auc_score(test.y, risk(partial))),
        "baseline_majority_accuracy": _figure((test.y == majority).mean()),
        "baseline_one_feature_accuracy": _figure(column.score(test.x[:, [single]], test.y)),
        "baseline_one_feature_auc": _figure(
            roc_auc_score(test.y, column.decision_function(test.x[:, [single]]))
        ),
        "held_out_cases": str(len(test.y)),
        "training_cases": str(len(train.y)),
    }


def _best_single_feature(train: Cases) -> int:
    """The column that ranks the training cases best by itself: the strongest one-feature baseline."""
    aucs = [roc_auc_score(train.y, column) for column in train.x.T]
    return int(np.argmax([max(auc, 1 - auc) for auc in aucs]))


def _figure(value: float) -> str:
    return f"{float(value):.4f}"


def manifest(artifacts: dict[str, bytes], metrics: dict[str, str], columns: int) -> dict[str, Any]:
    """The manifest that names these artefacts by their digests."""
    return {
        "format": "licet.manifest/1",
        "name": "tumour-risk",
        "kind": "model",
        "summary": "Risk that a breast mass is malignant, from cell nuclei. For demonstration, not for diagnosis.",
        "runner": "onnx",
        "artifacts": [
            {"name": name, "sha256": manifests.digest_bytes(body), "size_bytes": len(body)}
            for name, body in sorted(artifacts.items())
        ],
        "pipeline": {"features": "features.json", "scaler": "scaler.json"},
        "inputs": [{"name": INPUT, "datatype": "FP32", "shape": [-1, columns]}],
        "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, 2]}],
        "metering_rule": f"rows:{INPUT}",
        "limits": {"max_batch": MAX_BATCH},
        "licenses": [
            {
                "part": "data",
                "spdx": "CC-BY-4.0",
                "source": "Breast Cancer Wisconsin (Diagnostic), doi:10.24432/C5DW2B",
            },
            {"part": "weights", "spdx": "Apache-2.0", "source": "examples/models/tumour_risk/train.py"},
        ],
        "metrics": metrics,
    }


def build() -> dict[str, bytes]:
    """Trains, measures and returns every file by name."""
    split = load()
    scaler = fit_scaler(split.train)
    model = fit(scaler, split.train).SerializeToString()
    artifacts = {
        "features.json": feature_schema(split).model_dump_json(indent=1).encode(),
        "model.onnx": model,
        "scaler.json": scaler.model_dump_json().encode(),
    }
    described = manifest(artifacts, evaluate(model, scaler, split), len(split.names))
    return {**artifacts, "manifest.json": manifests.canonical(described)}


def cache_key() -> str:
    """Changes with this program, the data and the libraries that shape the result."""
    data = load_breast_cancer()
    parts = hashlib.sha256(Path(__file__).read_bytes())
    parts.update(data.data.tobytes() + data.target.tobytes())
    parts.update(" ".join(f"{name}={version(name)}" for name in LIBRARIES).encode())
    return parts.hexdigest()[:16]


def trained(cache: Path) -> Path:
    """The folder with the trained files; trains only when no run with this key has finished."""
    return cached(cache, f"tumour-risk-{cache_key()}", build)


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    return command(__doc__ or "", argv, trained)


if __name__ == "__main__":
    sys.exit(main())
