import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from licet_schemas import manifest as manifests
from licet_schemas.features import FeatureSchema
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score

from examples.models.bench_identity import build
from examples.models.tumour_risk import train

FILES = {"manifest.json", "model.onnx", "features.json", "scaler.json"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One training run, in a cache of its own."""
    folder = tmp_path_factory.mktemp("tumour-risk")
    assert train.main(["--out", str(folder / "out"), "--cache", str(folder / "cache")]) == 0
    return folder


def test_the_manifest_names_every_artefact_by_its_digest(made: Path) -> None:
    body = (made / "out/manifest.json").read_bytes()
    parsed = manifests.parse(body)
    assert manifests.canonical(parsed) == body
    assert {p.name for p in (made / "out").iterdir()} == FILES
    for artifact in parsed.artifacts:
        content = (made / "out" / artifact.name).read_bytes()
        assert (manifests.digest_bytes(content), len(content)) == (artifact.sha256, artifact.size_bytes)


def test_the_model_beats_both_baselines_on_cases_it_never_saw(made: Path) -> None:
    parsed = manifests.parse((made / "out/manifest.json").read_bytes())
    metrics = {name: float(value) for name, value in parsed.metrics.items()}
    assert (
        metrics["accuracy"] > metrics["baseline_one_feature_accuracy"] > metrics["baseline_majority_accuracy"]
    )
    assert metrics["auc"] > metrics["baseline_one_feature_auc"]
    assert metrics["auc_without_optional_features"] > metrics["baseline_one_feature_auc"]


def test_the_published_figures_follow_from_the_published_files(made: Path) -> None:
    """The scaler is applied here from its text, so that file, model and figure are checked together."""
    out = made / "out"
    split = train.load()
    text = json.loads((out / "scaler.json").read_text())
    scaled = (split.held_out.x - np.array(text["mean"])) / np.array(text["scale"])
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["PROBABILITIES"], {"FEATURES": scaled.astype(np.float32)})
    auc = roc_auc_score(split.held_out.y, np.asarray(probabilities)[:, 1])
    assert f"{auc:.4f}" == manifests.parse((out / "manifest.json").read_bytes()).metrics["auc"]


def test_no_held_out_case_is_trained_on() -> None:
    split = train.load()
    seen = {case.tobytes() for case in split.train.x}
    assert not [case for case in split.held_out.x if case.tobytes() in seen]
    assert len(split.train.y) + len(split.held_out.y) == len(load_breast_cancer().target)


def test_every_training_case_is_within_the_accepted_ranges(made: Path) -> None:
    schema = FeatureSchema.model_validate_json((made / "out/features.json").read_bytes())
    x = load_breast_cancer().data
    low, high = ([getattr(f, side) for f in schema.features] for side in ("minimum", "maximum"))
    assert ((x >= low) & (x <= high)).all(axis=1).mean() > 0.99
    assert [f.name for f in schema.features if not f.required] == [
        f.name for f in schema.features if "error" in f.name
    ]


def test_a_second_run_takes_the_trained_files(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "build", lambda: pytest.fail("trained again"))
    assert train.main(["--out", str(made / "again"), "--cache", str(made / "cache"), "--json"]) == 0
    assert {p.name for p in (made / "again").iterdir()} == FILES


def test_the_identity_model_has_a_valid_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["--out", str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["digest"] == manifests.digest_bytes((tmp_path / "manifest.json").read_bytes())
