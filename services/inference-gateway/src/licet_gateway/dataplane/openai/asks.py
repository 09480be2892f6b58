"""What a call of OpenAI's routes asks of a model: its bounds, the message to Triton, and the shape of its answer."""

from __future__ import annotations

import enum

from licet_gateway.dataplane.openai import chat, completions, embeddings
from licet_gateway.dataplane.openai.answers import ChatStream, CompletionStream, Head, Whole
from licet_gateway.dataplane.openai.bounds import TextModel
from licet_gateway.dataplane.openai.counts import TokenCounts
from licet_gateway.dataplane.openai.errors import BadRequest
from licet_gateway.dataplane.openai.requests import chat_request, completion_request, embedding_request


class Endpoint(enum.Enum):
    """One route; the value is its path."""

    CHAT = b"/v1/chat/completions"
    COMPLETIONS = b"/v1/completions"
    EMBEDDINGS = b"/v1/embeddings"


class Generation:
    """A chat completion or a completion."""

    def __init__(self, asked: chat.ChatRequest | completions.CompletionRequest) -> None:
        self._asked = asked
        self.model = asked.model
        self.streams = asked.streaming.stream
        self.texts = 1

    def check(self, text: TextModel) -> None:
        if text.task != "text-generation":
            raise BadRequest("this model generates no text", "model", "unsupported_model")
        if isinstance(self._asked, chat.ChatRequest) and text.chat is None:
            raise BadRequest(
                "this model takes no messages; use /v1/completions", "model", "unsupported_model"
            )

    def input_bound(self, text: TextModel) -> int:
        asked = self._asked
        if isinstance(asked, chat.ChatRequest):
            return text.chat_bound(asked.text_bytes, asked.message_count)
        return text.prompt_bound(len(asked.prompt))

    def output_bound(self, text: TextModel) -> int:
        return text.output_bound(self._asked.sampling.max_tokens)

    def message(self, pinned: str, name: str, most: int) -> bytes:
        """The `ModelInferRequest` for `most` output tokens."""
        asked = self._asked
        if isinstance(asked, chat.ChatRequest):
            return chat_request(pinned, name, asked.messages, asked.sampling, most)
        return completion_request(pinned, name, asked.prompt, asked.sampling, most)

    def stream(self, head: Head) -> ChatStream | CompletionStream:
        """Who makes events of its pieces."""
        usage = self._asked.streaming.include_usage
        if isinstance(self._asked, chat.ChatRequest):
            return ChatStream(head, include_usage=usage)
        return CompletionStream(head, include_usage=usage)

    def whole(self, pieces: Whole, head: Head) -> bytes:
        """The answer that is no stream."""
        return pieces.chat(head) if isinstance(self._asked, chat.ChatRequest) else pieces.completion(head)


class Embedding:
    """Vectors of texts."""

    streams = False

    def __init__(self, asked: embeddings.EmbeddingRequest) -> None:
        self._asked = asked
        self.model = asked.model
        self.texts = len(asked.texts)

    def check(self, text: TextModel) -> None:
        if text.task != "text-embedding":
            raise BadRequest("this model makes no embeddings", "model", "unsupported_model")
        if self.texts > text.max_texts:
            raise BadRequest(f"this model takes {text.max_texts} texts at most", "input", "invalid_value")
        self._asked.check_dimensions(text.dimensions)

    def input_bound(self, text: TextModel) -> int:
        return text.texts_bound(self._asked.texts)

    def output_bound(self, text: TextModel) -> int:
        return 0

    def message(self, pinned: str, name: str, most: int) -> bytes:
        """The `ModelInferRequest`; it writes no tokens."""
        return embedding_request(pinned, name, self._asked.texts)

    def answer(self, response: bytes) -> tuple[bytes, TokenCounts]:
        """The whole answer of a `ModelInferResponse`. Raises Malformed."""
        return embeddings.answer(self._asked, response)


def read_ask(endpoint: Endpoint, body: bytes) -> Generation | Embedding:
    """Reads a request's body; raises BadRequest."""
    if endpoint is Endpoint.EMBEDDINGS:
        return Embedding(embeddings.parse(body))
    return Generation(chat.parse(body) if endpoint is Endpoint.CHAT else completions.parse(body))
