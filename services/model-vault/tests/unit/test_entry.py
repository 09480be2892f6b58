from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from licet_schemas.manifest import Manifest, parse
from licet_vault.repository.entry import ENTRY_PARAMETER, Entry, Stored, folder_names, plan
from tritonclient.grpc import model_config_pb2 as pb

from examples.models.bench_identity import build

NAME = "acme.tumour-risk-0123456789abcdef"
BENCH = Path(build.__file__).parent / "repository/bench.identity"


def config(entry: Entry, name: str) -> Any:
    (folder,) = [f for f in entry.folders if f.name == name]
    text = folder.files["config.pbtxt"]
    assert isinstance(text, bytes)
    return text_format.Parse(text.decode(), pb.ModelConfig())


def test_an_onnx_version_is_a_pipeline_a_model_and_an_ensemble_of_both(tumour_manifest: Manifest) -> None:
    entry = plan(tumour_manifest, NAME)
    assert tuple(f.name for f in entry.folders) == folder_names(NAME)
    steps = config(entry, NAME).ensemble_scheduling.step
    assert [s.model_name for s in steps] == [f"{NAME}.pipeline", f"{NAME}.model"]
    assert dict(steps[1].input_map) == {"FEATURES": "SCALED"}
    assert config(entry, NAME).max_batch_size == 256


def test_artefacts_are_the_only_bytes_that_are_not_the_platforms(tumour_manifest: Manifest) -> None:
    placed = {
        path: content.sha256
        for folder in plan(tumour_manifest, NAME).folders
        for path, content in folder.files.items()
        if isinstance(content, Stored)
    }
    digests = {a.name: a.sha256 for a in tumour_manifest.artifacts}
    assert placed == {f"1/{name}": digest for name, digest in digests.items()}


def test_the_entry_changes_with_a_byte_of_an_artefact_and_with_nothing_else(
    tumour_manifest: Manifest,
) -> None:
    body = tumour_manifest.model_dump(mode="json")
    body["artifacts"][0]["sha256"] = "0x" + "0" * 64
    assert plan(parse(body), NAME).entry_id != plan(tumour_manifest, NAME).entry_id
    assert plan(tumour_manifest, NAME) == plan(tumour_manifest, NAME)


def test_every_configuration_tells_the_entry_that_it_belongs_to(tumour_manifest: Manifest) -> None:
    entry = plan(tumour_manifest, NAME)
    told = {config(entry, f.name).parameters[ENTRY_PARAMETER].string_value for f in entry.folders}
    assert told == {entry.entry_id}


def test_the_benchmarks_own_repository_is_what_the_vault_would_make() -> None:
    entry = plan(parse(build.MANIFEST), "bench.identity")
    made = config(entry, "bench.identity")
    made.ClearField("parameters")
    made.ClearField("name")
    assert made == text_format.Parse((BENCH / "config.pbtxt").read_text(), pb.ModelConfig())
    assert entry.folders[0].files["1/model.py"] == (BENCH / "1/model.py").read_bytes()


@pytest.mark.parametrize("key", ["summary", "metrics"])
def test_what_is_only_told_does_not_change_the_entry(tumour_manifest: Manifest, key: str) -> None:
    body = {**tumour_manifest.model_dump(mode="json"), key: {"summary": "other", "metrics": {}}[key]}
    assert plan(parse(body), NAME).entry_id == plan(tumour_manifest, NAME).entry_id
