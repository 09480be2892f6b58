"""What Triton makes of text models: the streams, counts and refusals that a gateway will see."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from licet_schemas.manifest import canonical, digest_bytes, parse
from licet_vault.clients.triton import Triton
from licet_vault.domain import LoadFailed
from licet_vault.repository.entry import plan
from licet_vault.repository.inspect import inspect, typical_row
from licet_vault.repository.place import Repository
from licet_vault.testing import texts
from licet_vault.testing.streams import Failed, Part, Stream, generated

NAME = "acme.alphabet-0123456789abcdef"
LONG = "acme.endless-0123456789abcdef"
VECTORS = "acme.vectors-0123456789abcdef"


@pytest.fixture
async def triton(triton_url: str) -> AsyncIterator[Triton]:
    client = Triton(triton_url, load_timeout_s=60)
    yield client
    await client.close()


async def serve(triton: Triton, repository: Path, name: str, files: dict[str, bytes]) -> None:
    if name not in await triton.ready_models():
        by_digest = {digest_bytes(body): body for body in files.values()}
        Repository(repository).place(
            plan(parse(files["manifest.json"]), name), lambda sha256: iter([by_digest[sha256]])
        )
        await triton.load(name)


@pytest.fixture
async def alphabet(triton: Triton, triton_repository: Path, triton_grpc: str) -> str:
    """The address of a Triton that serves the alphabet under NAME."""
    await serve(triton, triton_repository, NAME, texts.generator_files())
    return triton_grpc


@pytest.fixture
async def vectors(triton: Triton, triton_repository: Path, triton_url: str) -> str:
    """The address of a Triton that serves the vectors of bytes under VECTORS."""
    await serve(triton, triton_repository, VECTORS, texts.embedding_files())
    return triton_url


def text_of(parts: list[Part]) -> str:
    return "".join(part.text for part in parts)


def test_every_response_tells_what_was_counted_so_far(alphabet: str) -> None:
    parts = generated(alphabet, NAME, text_input="xa", max_tokens=4, temperature=0.0)
    assert parts == [Part("b", "", 3, 1), Part("c", "", 3, 2), Part("d", "", 3, 3), Part("e", "length", 3, 4)]


def test_an_end_token_ends_the_text_and_is_no_part_of_it(alphabet: str) -> None:
    parts = generated(alphabet, NAME, text_input="x", temperature=0.0)
    assert (text_of(parts), parts[-1].reason, parts[-1].output_tokens) == ("yz", "stop", 2)


def test_more_tokens_than_the_cap_are_never_generated(alphabet: str) -> None:
    parts = generated(alphabet, NAME, text_input="!", max_tokens=10_000, temperature=0.0)
    assert parts[-1] == Part(chr(ord("!") + texts.MAX_OUTPUT), "length", 2, texts.MAX_OUTPUT)
    assert generated(alphabet, NAME, text_input="!", temperature=0.0)[-1] == parts[-1]


def test_a_character_of_several_tokens_comes_whole(alphabet: str) -> None:
    parts = generated(alphabet, NAME, text_input="}", max_tokens=5, temperature=0.0)
    assert [(p.text, p.output_tokens) for p in parts] == [("~", 1), ("€", 4), ("!", 5)]


def test_half_a_character_at_the_cap_is_told_as_such(alphabet: str) -> None:
    parts = generated(alphabet, NAME, text_input="}", max_tokens=2, temperature=0.0)
    assert parts == [Part("~", "", 2, 1), Part("\N{REPLACEMENT CHARACTER}", "length", 2, 2)]


def test_a_stop_text_is_cut_off_and_its_tokens_are_counted(alphabet: str) -> None:
    parts = generated(alphabet, NAME, text_input="a", stop=["xyz", "efg"], temperature=0.0)
    assert (text_of(parts), parts[-1].reason, parts[-1].output_tokens) == ("bcd", "stop", 6)


def test_what_only_began_like_a_stop_text_is_given_out(alphabet: str) -> None:
    parts = generated(alphabet, NAME, text_input="a", stop=["bcx", "efz"], max_tokens=5, temperature=0.0)
    assert text_of(parts) == "bcdef"


def test_messages_become_the_manifests_prompt(alphabet: str) -> None:
    messages = [{"role": "system", "content": "be"}, {"role": "user", "content": "hi"}]
    parts = generated(alphabet, NAME, messages=json.dumps(messages), max_tokens=2, temperature=0.0)
    # begin; s:be and its line end; u:hi and its line end; the reply's special token and its letter.
    assert parts == [Part("b", "", 1 + 5 + 5 + 2, 1), Part("c", "length", 13, 2)]


def test_a_special_token_in_a_message_is_only_text(alphabet: str) -> None:
    messages = [{"role": "user", "content": texts.END}]
    parts = generated(alphabet, NAME, messages=json.dumps(messages), max_tokens=1, temperature=0.0)
    assert parts[0].input_tokens == 1 + 2 + len(texts.END) + 1 + 2
    assert generated(alphabet, NAME, text_input=texts.END, max_tokens=1)[0].input_tokens == 1 + len(texts.END)


def test_a_seed_repeats_a_text_and_none_does_not(alphabet: str) -> None:
    asked: dict[str, Any] = {"text_input": "a", "temperature": 2.0, "max_tokens": 30}
    seeded = [text_of(generated(alphabet, NAME, seed=seed, **asked)) for seed in (7, 7, -8, None) if seed]
    free = [text_of(generated(alphabet, NAME, **asked)) for _ in range(2)]
    assert seeded[0] == seeded[1]
    assert len({seeded[0], seeded[2], *free}) == 4


def test_a_small_top_p_leaves_the_likeliest_token_alone(alphabet: str) -> None:
    parts = generated(alphabet, NAME, text_input="a", temperature=2.0, top_p=0.3, max_tokens=9, seed=1)
    assert text_of(parts) == "bcdefghij"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"text_input": "x" * 64}, "65 tokens, at most 64 are taken"),
        ({"text_input": "x" * 100_000}, "more than 64 tokens"),
        ({"text_input": "a", "messages": "[]"}, "either text_input or messages"),
        ({"max_tokens": 3}, "either text_input or messages"),
        ({"messages": "{"}, "no JSON"),
        ({"messages": "[]"}, "not a list of messages"),
        ({"messages": '[{"role":"tool","content":"a"}]'}, "messages[0]: role"),
        ({"messages": '[{"role":"user","content":[]}]'}, "messages[0]: content is no text"),
        ({"messages": '[{"role":"user","content":"\\ud800"}]'}, "surrogate"),
        ({"text_input": b"\xff"}, "text_input is not UTF-8"),
        ({"text_input": "a", "max_tokens": 0}, "max_tokens is 0, at least 1 is taken"),
        ({"text_input": "a", "temperature": float("nan")}, "temperature is nan"),
        ({"text_input": "a", "top_p": 1.5}, "top_p is 1.5, 0 to 1 is taken"),
        ({"text_input": "a", "stop": ["x"] * 17}, "at most 16 texts"),
        ({"text_input": "\x01"}, "no finite figures"),
    ],
)
def test_what_cannot_be_answered_is_refused_and_the_model_lives(
    given: dict[str, Any], says: str, alphabet: str
) -> None:
    with pytest.raises(Failed) as told:
        generated(alphabet, NAME, **given)
    assert says in str(told.value)
    code = "context_length_exceeded: " if "64" in says else "invalid_value: "
    assert str(told.value).startswith(code) or says == "no finite figures"
    assert text_of(generated(alphabet, NAME, text_input="x", temperature=0.0)) == "yz"


def test_many_streams_at_once_each_get_their_own_text(alphabet: str) -> None:
    starts = "!#%')+-/13579"
    with Stream(alphabet) as one:
        one.ask(NAME, {"text_input": "!", "temperature": 0.0})
        found = {
            s: text_of(generated(alphabet, NAME, text_input=s, max_tokens=3, temperature=0.0)) for s in starts
        }
    assert found == {s: "".join(chr(ord(s) + i) for i in (1, 2, 3)) for s in starts}


async def test_streams_that_wait_for_a_place_are_answered_in_the_end(alphabet: str) -> None:
    asked = [
        asyncio.to_thread(generated, alphabet, NAME, text_input="!", max_tokens=30, temperature=0.0)
        for _ in range(3 * texts.MAX_STREAMS)
    ]
    assert {parts[-1].output_tokens for parts in await asyncio.gather(*asked)} == {30}


async def test_a_stream_whose_client_leaves_gives_its_place_free(
    triton: Triton, triton_repository: Path, triton_grpc: str
) -> None:
    """The one place is taken by a stream that would hold it for minutes."""
    long = parse(texts.generator_files(max_output_tokens=1 << 20, end=[])["manifest.json"]).model_dump(
        mode="json"
    )
    files = {**texts.generator_files(), "manifest.json": canonical({**long, "limits": {"max_batch": 1}})}
    await serve(triton, triton_repository, LONG, files)
    with Stream(triton_grpc) as leaving:
        leaving.ask(LONG, {"text_input": "x", "temperature": 0.0})
        assert not (await asyncio.to_thread(leaving.next)).reason
        leaving.cancel()
        parts = await asyncio.to_thread(generated, triton_grpc, LONG, text_input="a", max_tokens=2)
    assert parts[-1].reason == "length"


async def test_the_probe_accepts_both_tasks_and_refuses_another_models_manifest(
    alphabet: str, vectors: str, triton: Triton
) -> None:
    for name, files in ((NAME, texts.generator_files()), (VECTORS, texts.embedding_files())):
        manifest = parse(files["manifest.json"])
        inspect(manifest, {digest_bytes(b): iter([b]) for b in files.values()}.__getitem__)
        await triton.probe(name, manifest, typical_row(manifest, None))
    wider = parse(texts.embedding_files(dimensions=4)["manifest.json"])
    with pytest.raises(LoadFailed, match="embedding is not FP32"):
        await triton.probe(VECTORS, wider, typical_row(wider, None))
    with pytest.raises(LoadFailed):
        await triton.probe(VECTORS, parse(texts.generator_files()["manifest.json"]), typical_row(wider, None))


def embed(url: str, given: list[str]) -> tuple[int, dict[str, Any]]:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(given)], "data": given}
    answer = httpx2.post(
        f"{url}/v2/models/{VECTORS}/infer", content=json.dumps({"inputs": [tensor]}), timeout=20
    )
    body = answer.json()
    return answer.status_code, {o["name"]: o for o in body["outputs"]} if "outputs" in body else body


def test_each_text_has_its_vector_and_all_tokens_are_counted(vectors: str) -> None:
    status, answer = embed(vectors, ["a", "ac", "é"])
    assert status == 200
    assert answer["embedding"]["shape"] == [3, texts.DIMENSIONS]
    mean = (0xC3 + 0xA9) / 2
    sevenths = (0xC3 % 7 + 0xA9 % 7) / 2
    assert answer["embedding"]["data"] == [
        97.0,
        97 % 7,
        1.0,
        98.0,
        (97 % 7 + 99 % 7) / 2,
        1.0,
        mean,
        sevenths,
        1.0,
    ]
    assert answer["input_tokens"]["data"] == [5]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "0 texts are given, 1 to 4"),
        (["a"] * 5, "5 texts are given, 1 to 4"),
        (["a", ""], "text 1 is empty"),
        (["a", "x" * 65], "65 tokens, at most 64 are taken"),
    ],
)
def test_texts_that_cannot_be_embedded_are_refused(given: list[str], says: str, vectors: str) -> None:
    status, answer = embed(vectors, given)
    assert status == 400
    assert says in answer["error"]
    assert embed(vectors, ["a"])[0] == 200
