"""Answers to OpenAI's clients, read by OpenAI's own client."""

import base64
import json
from collections.abc import Iterable
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from licet_gateway.dataplane.openai import catalogue, embeddings
from licet_gateway.dataplane.openai.answers import ChatStream, CompletionStream, Head, Whole
from licet_gateway.dataplane.openai.catalogue import Listed
from licet_gateway.dataplane.openai.counts import TokenCounts, token_counts
from licet_gateway.dataplane.openai.errors import BadRequest, Rendered, event, failed, refused
from licet_gateway.dataplane.openai.pieces import Failure, Piece, read, read_stream
from licet_gateway.dataplane.openai.wire import Malformed
from licet_gateway.domain import REFUSAL_STATUS, Refusal
from openai.types import CompletionUsage, CreateEmbeddingResponse, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.completion import Completion
from tritonclient.grpc import service_pb2 as pb

HEAD = Head("lease-7", 1_700_000_000, "acme/writer")
TEXTS = ["He", "llo", "", ' "wörld"\n', "\u2028€\U0001f600"]


def pieces(texts: Iterable[str] = TEXTS, reason: str = "stop") -> list[Piece]:
    listed = list(texts)
    return [
        Piece(text, reason if n == len(listed) else "", TokenCounts(5, n)) for n, text in enumerate(listed, 1)
    ]


def client(
    answer: bytes, *, status: int = 200, kind: str = "application/json", headers: Any = ()
) -> openai.OpenAI:
    """OpenAI's client in front of one canned answer."""
    told = [*((k.decode(), v.decode()) for k, v in headers), ("content-type", kind)]
    transport = httpx2.MockTransport(lambda _: httpx2.Response(status, headers=told, content=answer))
    return openai.OpenAI(
        api_key="k", base_url="http://x/v1", max_retries=0, http_client=httpx2.Client(transport=transport)
    )


def streamed(stream: ChatStream | CompletionStream, given: Iterable[Piece]) -> bytes:
    return stream.opening() + b"".join(stream.piece(piece) for piece in given)


@pytest.mark.parametrize("include_usage", [False, True])
def test_a_streamed_chat_is_what_openais_client_expects(include_usage: bool) -> None:
    body = streamed(ChatStream(HEAD, include_usage=include_usage), pieces())
    asked = client(body, kind="text/event-stream")
    with asked.chat.completions.create(model="m", messages=[], stream=True) as chunks:
        found = [ChatCompletionChunk.model_validate(chunk.model_dump()) for chunk in chunks]
    choices = [choice for chunk in found for choice in chunk.choices]
    assert choices[0].delta.role == "assistant"
    assert "".join(choice.delta.content or "" for choice in choices) == "".join(TEXTS)
    assert [choice.finish_reason for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert {(c.id, c.model, c.created) for c in found} == {("chatcmpl-lease-7", "acme/writer", 1_700_000_000)}
    usage = CompletionUsage(prompt_tokens=5, completion_tokens=len(TEXTS), total_tokens=5 + len(TEXTS))
    assert [c.usage for c in found if c.usage] == ([usage] if include_usage else [])
    assert body.endswith(b"data: [DONE]\n\n")
    if include_usage:
        assert found[-1].choices == []


def test_usage_is_null_until_the_end_where_it_is_asked_for() -> None:
    body = streamed(ChatStream(HEAD, include_usage=True), pieces())
    events = [json.loads(line[6:]) for line in body.split(b"\n\n")[:-2]]
    assert [e["usage"] for e in events[:-1]] == [None] * (len(events) - 1)
    assert "usage" not in json.loads(ChatStream(HEAD, include_usage=False).opening()[6:])


@pytest.mark.parametrize("include_usage", [False, True])
def test_a_streamed_completion_is_what_openais_client_expects(include_usage: bool) -> None:
    body = streamed(CompletionStream(HEAD, include_usage=include_usage), pieces(reason="length"))
    asked = client(body, kind="text/event-stream")
    with asked.completions.create(model="m", prompt="", stream=True) as chunks:
        # Its type has no null for a reason that is still to come, which is what the API sends.
        found = list(chunks)
    choices = [choice for chunk in found for choice in chunk.choices]
    assert "".join(choice.text for choice in choices) == "".join(TEXTS)
    assert [choice.finish_reason for choice in choices[:-1]] == [None] * (len(choices) - 1)
    assert (
        Completion.model_validate(found[len(choices) - 1].model_dump()).choices[0].finish_reason == "length"
    )
    assert [c.usage.total_tokens for c in found if c.usage] == ([10] if include_usage else [])


def test_a_stream_that_is_ended_from_outside_tells_its_length_and_its_usage() -> None:
    stream = ChatStream(HEAD, include_usage=True)
    body = stream.opening() + stream.piece(Piece("a", "", TokenCounts(5, 3))) + stream.end("length")
    events = [json.loads(line[6:]) for line in body.split(b"\n\n")[:-2]]
    assert events[-2]["choices"][0]["finish_reason"] == "length"
    assert events[-1]["usage"] == {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}


def test_a_whole_answer_is_what_openais_client_expects() -> None:
    whole = Whole()
    for piece in pieces():
        whole.piece(piece)
    chat = client(whole.chat(HEAD)).chat.completions.create(model="m", messages=[])
    chat = ChatCompletion.model_validate(chat.model_dump())
    assert (chat.choices[0].message.content, chat.choices[0].finish_reason) == ("".join(TEXTS), "stop")
    assert chat.usage is not None
    assert (chat.usage.prompt_tokens, chat.usage.completion_tokens) == (5, len(TEXTS))
    completion = client(whole.completion(HEAD)).completions.create(model="m", prompt="")
    completion = Completion.model_validate(completion.model_dump())
    assert (completion.id, completion.choices[0].text) == ("cmpl-lease-7", "".join(TEXTS))


ERRORS: dict[int, type[openai.APIStatusError]] = {
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    413: openai.APIStatusError,
    429: openai.RateLimitError,
    503: openai.InternalServerError,
}


@pytest.mark.parametrize("code", [*REFUSAL_STATUS, "some_new_code"])
def test_every_refusal_is_the_error_that_openais_client_knows(code: str) -> None:
    rendered = refused(Refusal(code, "no", "do this", decision_id="d1"))
    asked = client(rendered.body, status=rendered.status, headers=rendered.headers)
    with pytest.raises(ERRORS[rendered.status]) as told:
        asked.models.list()
    assert isinstance(told.value.body, dict)
    assert told.value.body["licet_code"] == code
    assert (told.value.body["remedy"], told.value.body["decision_id"]) == ("do this", "d1")
    assert told.value.message
    assert rendered.status == REFUSAL_STATUS.get(code, 403)


@pytest.mark.parametrize(
    ("code", "kind", "openai_code"),
    [
        ("credential_missing", "invalid_request_error", "invalid_api_key"),
        ("credential_invalid", "invalid_request_error", "invalid_api_key"),
        ("model_unknown", "invalid_request_error", "model_not_found"),
        ("quota_exhausted", "insufficient_quota", "insufficient_quota"),
        ("rate_limited", "requests", "rate_limit_exceeded"),
        ("license_expired", "permission_error", "license_expired"),
        ("overloaded", "server_error", "overloaded"),
    ],
)
def test_openais_own_codes_are_used_where_it_has_one(code: str, kind: str, openai_code: str) -> None:
    error = json.loads(refused(Refusal(code, "no", "do this")).body)["error"]
    assert (error["type"], error["code"], error["message"]) == (kind, openai_code, "no")


def test_an_exhausted_quota_alone_is_not_tried_again() -> None:
    told = {code for code in REFUSAL_STATUS if refused(Refusal(code, "", "")).headers}
    assert told == {"quota_exhausted"}


def test_a_runners_refusal_is_the_callers_and_everything_else_is_the_models() -> None:
    rendered = failed("context_length_exceeded: the input has 65 tokens, at most 64 are taken")
    error = json.loads(rendered.body)["error"]
    assert (rendered.status, error["code"]) == (400, "context_length_exceeded")
    assert error["message"] == "the input has 65 tokens, at most 64 are taken"
    rendered = failed("in ensemble 'acme.x-0123456789abcdef': boom")
    assert rendered.status == 502
    assert b"acme" not in rendered.body


def test_an_error_within_a_stream_reaches_openais_client() -> None:
    body = ChatStream(HEAD, include_usage=False).opening() + event(failed("boom"))
    asked = client(body, kind="text/event-stream")
    with asked.chat.completions.create(model="m", messages=[], stream=True) as chunks:
        assert next(chunks).choices[0].delta.role == "assistant"
        with pytest.raises(openai.APIError, match="the model failed"):
            next(chunks)


def test_models_are_listed_as_openai_does() -> None:
    listed = [Listed("b/two", "", 2), Listed("a/one", "text-generation", 1)]
    found = list(client(catalogue.models(listed)).models.list())
    assert [(m.id, m.owned_by, m.created) for m in found] == [("a/one", "a", 1), ("b/two", "b", 2)]
    assert Model.model_validate(json.loads(catalogue.model(listed[1]))).id == "a/one"


def response(outputs: dict[str, tuple[str, list[int], Any]], *, raw: bool) -> pb.ModelInferResponse:
    """A response as Triton or a stub would write it."""
    made = pb.ModelInferResponse(model_name="m", id="r")
    made.parameters["triton_final_response"].bool_param = True
    for name, (datatype, shape, values) in outputs.items():
        output = made.outputs.add(name=name, datatype=datatype, shape=shape)
        if raw and datatype == "BYTES":
            made.raw_output_contents.append(b"".join(len(v).to_bytes(4, "little") + v for v in values))
        elif raw:
            made.raw_output_contents.append(
                np.array(values, {"INT32": "<i4", "FP32": "<f4"}[datatype]).tobytes()
            )
        elif datatype == "BYTES":
            output.contents.bytes_contents.extend(values)
        elif datatype == "INT32":
            output.contents.int_contents.extend(values)
        else:
            output.contents.fp32_contents.extend(values)
    return made


def generated(text: bytes, reason: bytes, given: int, made: int, *, raw: bool) -> pb.ModelInferResponse:
    return response(
        {
            "text_output": ("BYTES", [1], [text]),
            "finish_reason": ("BYTES", [1], [reason]),
            "input_tokens": ("INT32", [1], [given]),
            "output_tokens": ("INT32", [1], [made]),
        },
        raw=raw,
    )


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"stop", b"length"]),
    st.integers(0, (1 << 31) - 1),
    st.integers(0, (1 << 31) - 1),
    st.booleans(),
)
def test_what_protobufs_own_library_writes_is_read(
    text: bytes, reason: bytes, given: int, made: int, raw: bool
) -> None:
    message = generated(text, reason, given, made, raw=raw)
    body = message.SerializeToString()
    wanted = Piece(text.decode(errors="replace"), reason.decode(), TokenCounts(given, made))
    assert read(body) == wanted
    assert token_counts(body) == wanted.counts
    whole = pb.ModelStreamInferResponse(infer_response=message).SerializeToString()
    assert read_stream(whole) == wanted


def test_errors_and_empty_last_responses_are_read() -> None:
    assert read_stream(pb.ModelStreamInferResponse(error_message="böom").SerializeToString()) == Failure(
        "böom"
    )
    assert read_stream(b"") is None
    empty = response({}, raw=True)
    assert read(empty.SerializeToString()) is None
    assert token_counts(empty.SerializeToString()) is None


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("values", [[], [1, 2], [-1]], ids=["none", "two", "negative"])
def test_what_is_no_count_is_not_taken_for_one(values: list[int], raw: bool) -> None:
    body = response({"input_tokens": ("INT32", [len(values)], values)}, raw=raw).SerializeToString()
    with pytest.raises(Malformed):
        token_counts(body)


@given(st.binary(max_size=80))
def test_bytes_that_are_no_message_are_malformed_or_empty(body: bytes) -> None:
    for reader in (read, read_stream, token_counts):
        try:
            reader(body)
        except Malformed:
            continue


@given(st.integers(0, 200), st.booleans())
def test_a_response_that_is_cut_is_never_read_as_another(size: int, raw: bool) -> None:
    body = generated(b"text", b"stop", 300, 70_000, raw=raw).SerializeToString()
    try:
        found = token_counts(body[: min(size, len(body) - 1)])
    except Malformed:
        return
    assert found in (None, TokenCounts(300, 0), TokenCounts(300, 70_000))


VECTOR = np.array([[0.1, -2.5e-8, 3.0], [1 / 3, 65504.0, -1e30]], np.float32)


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_come_to_the_last_bit(encoding: str, raw: bool) -> None:
    asked = embeddings.parse(
        json.dumps({"model": "a/v", "input": ["x", "y"], "encoding_format": encoding}).encode()
    )
    outputs: dict[str, Any] = {
        "embedding": ("FP32", [2, 3], VECTOR.ravel().tolist()),
        "input_tokens": ("INT32", [1], [9]),
    }
    body, counts = embeddings.answer(asked, response(outputs, raw=raw).SerializeToString())
    assert counts == TokenCounts(9)
    data = json.loads(body)["data"]
    if encoding == "base64":
        rows = [np.frombuffer(base64.b64decode(item["embedding"]), "<f4") for item in data]
    else:
        found = CreateEmbeddingResponse.model_validate(json.loads(body))
        assert (found.usage.prompt_tokens, found.usage.total_tokens, found.model) == (9, 9, "a/v")
        rows = [np.array(item.embedding, np.float32) for item in found.data]
    assert np.array_equal(np.stack(rows).view(np.int32), VECTOR.view(np.int32))
    # The client asks for base64 by itself, and decodes it.
    if encoding == "base64":
        decoded = client(body).embeddings.create(model="m", input=["x", "y"])
        assert np.array_equal(np.array(decoded.data[1].embedding, np.float32), VECTOR[1])


@pytest.mark.parametrize(
    "outputs",
    [
        {},
        {"embedding": ("FP32", [1, 3], [1.0, 2.0, 3.0])},
        {"embedding": ("FP32", [2, 3], [1.0] * 6), "input_tokens": ("INT32", [1], [1])},
        {"embedding": ("FP32", [1, 3], [1.0] * 2), "input_tokens": ("INT32", [1], [1])},
        {"embedding": ("FP32", [1, 1], [float("nan")]), "input_tokens": ("INT32", [1], [1])},
    ],
    ids=["nothing", "no count", "other texts", "short", "NaN"],
)
def test_an_answer_that_is_no_embedding_of_the_texts_is_malformed(outputs: dict[str, Any]) -> None:
    asked = embeddings.parse(b'{"model":"a/v","input":"x"}')
    with pytest.raises(Malformed):
        embeddings.answer(asked, response(outputs, raw=True).SerializeToString())


def test_a_bad_request_is_an_error_of_openais_client() -> None:
    rendered: Rendered = BadRequest("n is not supported", "n", "unsupported_parameter").rendered()
    with pytest.raises(openai.BadRequestError) as told:
        client(rendered.body, status=rendered.status).models.list()
    assert (told.value.param, told.value.code) == ("n", "unsupported_parameter")
