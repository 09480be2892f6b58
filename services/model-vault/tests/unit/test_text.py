"""What of a text model is refused before anything of it is placed."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from licet_schemas.manifest import Manifest, digest_bytes, parse
from licet_schemas.text import SPECIAL_TOKENS_MAX
from licet_vault.domain import ManifestInvalid
from licet_vault.repository.entry import Stored, folder_names, plan
from licet_vault.repository.inspect import inspect, schema_json
from licet_vault.repository.runners.licet_pieces import Pieces
from licet_vault.repository.runners.licet_tokens import BYTE_OF
from licet_vault.testing import texts
from tritonclient.grpc import model_config_pb2 as pb

NAME = "acme.alphabet-0123456789abcdef"


def inspected(files: dict[str, bytes], name: str, body: bytes) -> None:
    """The files with one of them replaced, as its publisher would name it."""
    document = json.loads(files["manifest.json"])
    for artifact in document["artifacts"]:
        if artifact["name"] == name:
            artifact.update(sha256=digest_bytes(body), size_bytes=len(body))
    by_digest = {digest_bytes(b): b for b in {**files, name: body}.values()}
    inspect(parse(document), lambda sha256: iter([by_digest[sha256]]))


def _regex(found: dict[str, Any]) -> None:
    found["pre_tokenizer"]["pattern"] = {"Regex": "(a+)+$"}


def _whitespace(found: dict[str, Any]) -> None:
    found["pre_tokenizer"] = {"type": "Whitespace"}


def _normalizer(found: dict[str, Any]) -> None:
    found["normalizer"] = {"type": "NFKC"}


def _word_level(found: dict[str, Any]) -> None:
    found["model"]["type"] = "WordLevel"


def _gap(found: dict[str, Any]) -> None:
    found["added_tokens"][1]["id"] = 300


def _few_bytes(found: dict[str, Any]) -> None:
    del found["model"]["vocab"]["a"]


def _no_end(found: dict[str, Any]) -> None:
    found["added_tokens"].pop()


def _plain_end(found: dict[str, Any]) -> None:
    found["added_tokens"][1]["special"] = False


def _list(found: dict[str, Any]) -> None:
    found["model"]["vocab"] = ["a"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_regex, "a pattern other than plain text"),
        (_whitespace, "byte-level"),
        (_normalizer, "byte-level"),
        (_word_level, "byte-level"),
        (_gap, "numbered"),
        (_few_bytes, "256 bytes"),
        (_no_end, "no special token"),
        (_plain_end, "no special token"),
        (_list, "no table of tokens"),
    ],
)
def test_a_tokenizer_that_the_runner_cannot_trust_is_refused(
    change: Callable[[dict[str, Any]], None], says: str
) -> None:
    found = texts.tokenizer()
    change(found)
    with pytest.raises(ManifestInvalid, match=says):
        inspected(texts.generator_files(), "tokenizer.json", json.dumps(found).encode())


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"\xff", b"[" * 5000, b'{"model":{"vocab":' + b"[" * 900]
)
def test_what_is_no_tokenizer_is_refused(body: bytes) -> None:
    for files in (texts.generator_files(), texts.embedding_files()):
        with pytest.raises(ManifestInvalid, match=r"tokenizer\.json"):
            inspected(files, "tokenizer.json", body)


def test_the_graph_of_another_task_is_refused() -> None:
    for files, other in (
        (texts.generator_files(), texts.vector_graph()),
        (texts.embedding_files(), texts.counting_graph()),
        (texts.generator_files(state=3), texts.counting_graph()),
        (texts.embedding_files(dimensions=4), texts.vector_graph()),
    ):
        with pytest.raises(ManifestInvalid, match=r"model\.onnx"):
            inspected(files, "model.onnx", other.SerializeToString())


def test_callers_are_told_task_and_caps() -> None:
    told = json.loads(schema_json(manifest(texts.generator_files()), None))
    assert (told["task"], told["limits"]) == (
        "text-generation",
        {"max_batch": 4, "max_input_tokens": 64, "max_output_tokens": 40},
    )
    assert (told["tokens_beyond_bytes"], told["chat"]) == (SPECIAL_TOKENS_MAX, {"fixed": 8, "per_message": 3})
    told = json.loads(schema_json(manifest(texts.embedding_files()), None))
    assert (told["task"], told["limits"]) == (
        "text-embedding",
        {"dimensions": 3, "max_batch": 4, "max_input_tokens": 64},
    )
    assert [(t["name"], t["datatype"], t["shape"]) for t in told["outputs"]] == [
        ("embedding", "FP32", [-1, 3]),
        ("input_tokens", "INT32", [1]),
    ]


@pytest.mark.parametrize(
    "files", [texts.generator_files(), texts.embedding_files()], ids=["generator", "embedding"]
)
def test_a_text_version_is_one_model_of_platform_code_and_two_artefacts(files: dict[str, bytes]) -> None:
    (folder,) = plan(manifest(files), NAME).folders
    assert folder.name in folder_names(NAME)
    stored = {path for path, content in folder.files.items() if isinstance(content, Stored)}
    assert stored == {"1/model.onnx", "1/tokenizer.json"}
    text = folder.files["config.pbtxt"]
    assert isinstance(text, bytes)
    config = text_format.Parse(text.decode(), pb.ModelConfig())
    assert config.model_transaction_policy.decoupled == ("1/generation.json" in folder.files)
    assert config.max_batch_size == 0


def manifest(files: dict[str, bytes]) -> Manifest:
    return parse(files["manifest.json"])


def test_the_runners_table_of_bytes_is_the_usual_one() -> None:
    assert [BYTE_OF[character] for character in texts.byte_characters()] == list(range(256))


PARTS = st.lists(st.sampled_from(["a", "b", "ab", "é", "€", "\n"]), max_size=30)


@given(PARTS, st.lists(st.sampled_from(["ab", "ba", "aab", "€", "bé"]), max_size=3), st.integers(1, 4))
def test_pieces_are_the_text_up_to_the_first_stop(parts: list[str], stops: list[str], size: int) -> None:
    whole = "".join(parts)
    raw = whole.encode()
    pieces, out = Pieces(stops), ""
    for at in range(0, len(raw), size):
        out += pieces.push(raw[at : at + size])
        if pieces.stopped:
            break
    if not pieces.stopped:
        out += pieces.rest()
    found = [at for at in (whole.find(stop) for stop in stops) if at >= 0]
    assert pieces.stopped == bool(found)
    # Which of two overlapping stops is seen first depends on where the pieces end; nothing of one is given out.
    assert whole.startswith(out)
    assert not any(stop in out for stop in stops)
    if not found:
        assert out == whole
