"""The text examples: their figures, their files, and that the platform's own checks take them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from licet_schemas import manifest as manifests
from tokenizers import Tokenizer

from examples.models.building import CACHE
from examples.models.manual_writer import network, text, train
from examples.models.sentence_map import build, texts

FILES = {"manifest.json", "model.onnx", "tokenizer.json"}


@pytest.fixture(scope="module")
def writer() -> Path:
    """The trained generator, from the cache of trained models: training takes most of a minute."""
    return train.trained(CACHE)


@pytest.fixture(scope="module")
def sentences() -> Path:
    return build.built(CACHE)


def metrics(folder: Path) -> dict[str, float]:
    parsed = manifests.parse((folder / "manifest.json").read_bytes())
    return {name: float(value) for name, value in parsed.metrics.items()}


def test_the_manifests_name_every_artefact_by_its_digest(writer: Path, sentences: Path) -> None:
    for folder in (writer, sentences):
        body = (folder / "manifest.json").read_bytes()
        parsed = manifests.parse(body)
        assert manifests.canonical(parsed) == body
        assert {p.name for p in folder.iterdir()} == FILES
        for artifact in parsed.artifacts:
            content = (folder / artifact.name).read_bytes()
            assert (manifests.digest_bytes(content), len(content)) == (artifact.sha256, artifact.size_bytes)


def test_the_writer_beats_counting_on_text_it_never_saw(writer: Path) -> None:
    told = metrics(writer)
    assert (
        told["perplexity"]
        < told["baseline_token_pairs_perplexity"]
        < told["baseline_single_tokens_perplexity"]
    )


def test_no_held_out_paragraph_is_trained_on() -> None:
    split = text.load()
    learned = {part for section in split.train for part in section.split("\n\n")}
    asked = [part for section in split.held_out for part in section.split("\n\n")]
    assert asked
    assert not learned.intersection(asked)


def test_the_writers_figure_follows_from_its_files(writer: Path) -> None:
    """Computed from the end of each context here, not step by step: state and window must agree."""
    made = Tokenizer.from_file(str(writer / "tokenizer.json"))
    section = [text.number(made, text.BEGIN), *made.encode(text.load().held_out[0]).ids[:40]]
    session = onnxruntime.InferenceSession(writer / "model.onnx", providers=["CPUExecutionProvider"])
    state = np.zeros((1, train.STATE), np.float32)
    for token in section:
        logits, state = session.run(None, {"TOKEN": np.array([token]), "STATE": state})
    again = np.zeros((1, train.STATE), np.float32)
    for token in section[-network.CONTEXT :]:
        window, again = session.run(None, {"TOKEN": np.array([token]), "STATE": again})
    assert np.allclose(logits, window, atol=1e-5)


def test_the_sentences_beat_counting_words_and_guessing(sentences: Path) -> None:
    told = metrics(sentences)
    assert told["accuracy"] > told["baseline_word_counts_accuracy"] > told["baseline_majority_accuracy"]


def test_a_sentence_lies_nearer_to_its_paraphrase(sentences: Path) -> None:
    made = Tokenizer.from_file(str(sentences / "tokenizer.json"))
    model = (sentences / "model.onnx").read_bytes()
    asked = ["the cat sleeps on the sofa", "a kitten naps on the couch", "interest rates rose again"]
    one, two, other = build.embedded(model, made, asked)
    assert np.allclose(np.linalg.norm([one, two, other], axis=1), 1, atol=1e-5)
    assert one @ two > one @ other + 0.2


def test_no_labelled_text_is_asked_for() -> None:
    split = texts.load()
    assert not set(split.labelled.texts) & set(split.asked.texts)
    assert len(split.labelled.texts) == texts.LABELLED * len(texts.PACKAGES)


@pytest.mark.parametrize(("main", "module"), [(train.main, train), (build.main, build)])
def test_a_second_run_takes_the_built_files(
    main: Callable[[list[str]], int],
    module: object,
    tmp_path: Path,
    writer: Path,
    sentences: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "build", lambda: pytest.fail("built again"))
    assert main(["--out", str(tmp_path / "out"), "--json"]) == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == FILES
