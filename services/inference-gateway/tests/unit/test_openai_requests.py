"""Requests as OpenAI's clients send them, and what Triton is sent for them."""

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licet_gateway.dataplane.openai import chat, completions, embeddings
from licet_gateway.dataplane.openai.bounds import text_model
from licet_gateway.dataplane.openai.errors import BadRequest
from licet_gateway.dataplane.openai.requests import chat_request, completion_request, embedding_request
from licet_gateway.dataplane.openai.sampling import Sampling, Streaming
from tritonclient.grpc import service_pb2 as pb

MESSAGES = [{"role": "user", "content": "hi"}]
CHAT: dict[str, Any] = {"model": "acme/writer", "messages": MESSAGES}
PROMPT: dict[str, Any] = {"model": "acme/writer", "prompt": "Once"}
INPUT: dict[str, Any] = {"model": "acme/vectors", "input": "Once"}


def body(document: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({**document, **more}).encode()


def test_a_chat_is_read_with_all_that_is_served() -> None:
    found = chat.parse(
        body(
            CHAT,
            messages=[
                {"role": "developer", "content": "be brief", "name": "x"},
                {"role": "user", "content": [{"type": "text", "text": "é"}, {"type": "text", "text": "b"}]},
                {"role": "assistant", "content": ""},
            ],
            stream=True,
            stream_options={"include_usage": True},
            max_completion_tokens=7,
            temperature=0,
            top_p=0.5,
            seed=-3,
            stop="\n",
            n=1,
            user="someone",
            metadata={"a": "b"},
            parallel_tool_calls=True,
            response_format={"type": "text"},
            presence_penalty=0,
            tools=[],
            unheard_of=1,
        )
    )
    assert json.loads(found.messages) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "é\nb"},
        {"role": "assistant", "content": ""},
    ]
    assert (found.model, found.message_count, found.text_bytes) == ("acme/writer", 3, 8 + 4)
    assert found.sampling == Sampling(max_tokens=7, temperature=0.0, top_p=0.5, seed=-3, stop=("\n",))
    assert found.streaming == Streaming(stream=True, include_usage=True)


def test_null_is_the_same_as_nothing() -> None:
    names = (
        "stream",
        "stream_options",
        "max_tokens",
        "temperature",
        "top_p",
        "seed",
        "stop",
        "n",
        "tools",
        "logprobs",
    )
    assert chat.parse(body(CHAT, **dict.fromkeys(names))) == chat.parse(body(CHAT))
    assert completions.parse(body(PROMPT, **dict.fromkeys(names))) == completions.parse(body(PROMPT))


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [1]}, "messages[0]"),
        ({"messages": [*MESSAGES, {"role": "tool", "content": "a"}]}, "messages[1].role"),
        ({"messages": [{"role": [], "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages[0].content"),
        ({"messages": [{"role": "assistant", "content": "", "tool_calls": [{}]}]}, "messages[0].tool_calls"),
        ({"model": 1}, "model"),
        ({"model": ""}, "model"),
        ({"n": 2}, "n"),
        ({"n": True}, "n"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logit_bias": {"1": 1}}, "logit_bias"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"audio": {}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"seed": 1 << 63}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1 << 31}, "max_tokens"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": ["a" * 257]}, "stop"),
        ({"stop": [1]}, "stop"),
        ({"stop": "\udc00"}, "stop"),
        ({"stream": 1}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": []}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ],
)
def test_a_chat_that_cannot_be_served_is_refused_with_its_field(more: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as told:
        chat.parse(body(CHAT, **more))
    assert told.value.param == param
    rendered = told.value.rendered()
    error = json.loads(rendered.body)["error"]
    assert (rendered.status, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert error["message"]


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"\xff", b'{"a":NaN}', b"[" * 100_000, b"1" * 5000, b"\xff\xfe{\x00}\x00"],
    ids=["nothing", "list", "no UTF-8", "NaN", "deep", "long number", "UTF-16"],
)
def test_a_body_that_is_no_object_in_json_is_refused(text: bytes) -> None:
    for parse in (chat.parse, completions.parse, embeddings.parse):
        with pytest.raises(BadRequest):
            parse(text)


def test_brackets_in_a_text_nest_nothing() -> None:
    prompt = '{"[' * 200 + "\\"
    assert completions.parse(body(PROMPT, prompt=prompt)).prompt == prompt.encode()


def test_a_completion_takes_one_prompt() -> None:
    assert completions.parse(body(PROMPT)).prompt == b"Once"
    assert completions.parse(body(PROMPT, prompt=["é"])).prompt == "é".encode()
    for prompt in (None, [], ["a", "b"], [1, 2], [[1]], 5, ["\ud800"]):
        with pytest.raises(BadRequest) as told:
            completions.parse(body(PROMPT, prompt=prompt))
        assert told.value.param == "prompt"


@pytest.mark.parametrize("more", [{"echo": True}, {"best_of": 2}, {"suffix": "x"}, {"logprobs": 0}, {"n": 3}])
def test_a_completion_that_cannot_be_served_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as told:
        completions.parse(body(PROMPT, **more))
    assert told.value.param == next(iter(more))


def test_an_embedding_takes_a_text_or_a_list_of_them() -> None:
    assert embeddings.parse(body(INPUT)).texts == (b"Once",)
    found = embeddings.parse(body(INPUT, input=["a", "é"], encoding_format="base64", dimensions=3))
    assert (found.texts, found.base64) == ((b"a", "é".encode()), True)
    found.check_dimensions(3)
    with pytest.raises(BadRequest, match="4 dimensions"):
        found.check_dimensions(4)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [1, 2]}, "input"),
        ({"input": [[1], [2]]}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": ""}, "input"),
        ({"input": None}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": "\ud800"}, "input"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
    ],
)
def test_an_embedding_that_cannot_be_served_is_refused(more: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as told:
        embeddings.parse(body(INPUT, **more))
    assert told.value.param == param


def tensors(message: bytes) -> tuple[pb.ModelInferRequest, dict[str, tuple[str, list[int], bytes]]]:
    """A request as protobuf's own library reads it."""
    found = pb.ModelInferRequest.FromString(message)
    assert len(found.inputs) == len(found.raw_input_contents)
    given = {
        tensor.name: (tensor.datatype, list(tensor.shape), raw)
        for tensor, raw in zip(found.inputs, found.raw_input_contents, strict=True)
    }
    return found, given


def text_tensor(*texts: bytes) -> tuple[str, list[int], bytes]:
    return ("BYTES", [len(texts)], b"".join(struct.pack("<I", len(t)) + t for t in texts))


def test_triton_is_asked_for_no_more_than_the_caller_said() -> None:
    found, given = tensors(chat_request("acme.writer-0", "lease-1", b"[]", Sampling(), 9))
    assert (found.model_name, found.id, found.model_version) == ("acme.writer-0", "lease-1", "")
    assert given == {"messages": text_tensor(b"[]"), "max_tokens": ("INT32", [1], struct.pack("<i", 9))}


@given(
    st.binary(max_size=300),
    st.none() | st.floats(0, 2, width=32),
    st.none() | st.floats(0, 1, width=32),
    st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200), max_size=4),
    st.integers(1, (1 << 31) - 1),
)
def test_protobufs_own_library_reads_what_is_written(
    prompt: bytes,
    temperature: float | None,
    top_p: float | None,
    seed: int | None,
    stop: list[str],
    max_tokens: int,
) -> None:
    asked = Sampling(None, temperature, top_p, seed, tuple(stop))
    found, given = tensors(completion_request("m" * 200, "r", prompt, asked, max_tokens))
    wanted = {"text_input": text_tensor(prompt), "max_tokens": ("INT32", [1], struct.pack("<i", max_tokens))}
    if temperature is not None:
        wanted["temperature"] = ("FP32", [1], struct.pack("<f", temperature))
    if top_p is not None:
        wanted["top_p"] = ("FP32", [1], struct.pack("<f", top_p))
    if seed is not None:
        wanted["seed"] = ("INT64", [1], struct.pack("<q", seed))
    if stop:
        wanted["stop"] = text_tensor(*[s.encode() for s in stop])
    assert given == wanted
    assert found.model_name == "m" * 200


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=300))
def test_all_texts_to_embed_are_one_tensor(texts: list[bytes]) -> None:
    _, given = tensors(embedding_request("m", "r", texts))
    assert given == {"text": text_tensor(*texts)}


GENERATOR = {
    "task": "text-generation",
    "limits": {"max_batch": 8, "max_input_tokens": 100, "max_output_tokens": 50},
    "tokens_beyond_bytes": 8,
    "chat": {"fixed": 3, "per_message": 5},
}


def test_what_is_reserved_is_never_below_what_the_runner_may_count() -> None:
    model = text_model(json.dumps(GENERATOR))
    assert model is not None
    assert [model.output_bound(asked) for asked in (None, 7, 70)] == [50, 7, 50]
    assert [model.prompt_bound(size) for size in (0, 10, 1000)] == [8, 18, 100]
    assert model.chat_bound(text_bytes=10, messages=2) == 10 + 3 + 2 * 5 + 8
    assert model.texts_bound((b"ab", b"x" * 500)) == 10 + 100


@pytest.mark.parametrize(
    "schema",
    [
        "",
        "{}",
        "[]",
        '{"task":"tabular"}',
        '{"task":"text-generation"}',
        '{"task":"text-embedding","limits":1}',
    ],
)
def test_a_version_that_is_no_text_model_has_no_bounds(schema: str) -> None:
    assert text_model(schema) is None
