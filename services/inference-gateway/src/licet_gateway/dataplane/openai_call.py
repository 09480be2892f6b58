"""A call of OpenAI's routes: JSON over HTTP/1.1 on the client's side, the platform's text runners on Triton's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from licet_gateway.dataplane import metering, openai_replies
from licet_gateway.dataplane.commitments import Commitments
from licet_gateway.dataplane.grpc_call import ANSWER_MAX
from licet_gateway.dataplane.h2.messages import MessageError, MessageReader, frame
from licet_gateway.dataplane.openai import errors
from licet_gateway.dataplane.openai.answers import ChatStream, CompletionStream, Head, Whole
from licet_gateway.dataplane.openai.asks import Embedding, Endpoint, Generation, read_ask
from licet_gateway.dataplane.openai.counts import TokenCounts
from licet_gateway.dataplane.openai.errors import BadRequest
from licet_gateway.dataplane.openai.pieces import Failure, Piece, read_stream
from licet_gateway.dataplane.openai.wire import Malformed
from licet_gateway.dataplane.refusals import NOT_READY, UNKNOWN, body_too_large, revoked
from licet_gateway.dataplane.replies import CONTINUE
from licet_gateway.dataplane.stage import Stage
from licet_gateway.dataplane.tally import Tally
from licet_gateway.dataplane.triton_call import INFER, STREAM_INFER, TritonCall
from licet_gateway.domain import Credential, Measure, Outcome, Refusal, TokenCaps, is_slug

if TYPE_CHECKING:
    from licet_gateway.dataplane.client import ClientConnection
    from licet_gateway.dataplane.http import RequestHead
    from licet_gateway.dataplane.openai.bounds import TextModel
    from licet_gateway.dataplane.plane import DataPlane

# Text, not tensors: a body above this is no prompt, and reading its JSON would hold the loop for long.
BODY_MAX: Final = 1024 * 1024
_LAST_CHUNK: Final = b"0\r\n\r\n"


class OpenAiCall(TritonCall):
    """The client connection feeds it the request; the answer is made of what Triton streams."""

    __slots__ = (
        "_ask",
        "_begun",
        "_embedded",
        "_ended",
        "_endpoint",
        "_ends_at",
        "_events",
        "_failure",
        "_finished",
        "_parts",
        "_reader",
        "_starts_at",
        "_tally",
        "_text",
        "_whole",
        "client",
    )

    _ask: Generation | Embedding
    _tally: Tally
    # Of the leased version.
    _text: TextModel
    _embedded: tuple[bytes, TokenCounts]
    _reader: MessageReader

    def __init__(
        self,
        plane: DataPlane,
        client: ClientConnection,
        head: RequestHead,
        endpoint: Endpoint,
        caller: Credential,
    ) -> None:
        super().__init__(plane, "", caller, head.fields)
        self.client = client
        self._endpoint = endpoint
        self._parts: list[bytes] = []
        self._events: ChatStream | CompletionStream | None = None
        self._whole = Whole()
        self._failure: Failure | None = None
        # Whether a part of the answer was sent, whether the runner said why it ended, and whether all is sent.
        self._begun = self._finished = self._ended = False
        self._starts_at = self._ends_at = 0
        if head.expects_continue:
            client.write(CONTINUE)

    # --- the request

    def on_body(self, data: bytes) -> None:
        self._size += len(data)
        if self.stage is not Stage.GATHERING:
            return
        if self._size > min(BODY_MAX, self._plane.max_body_bytes):
            self.stage = Stage.DONE
            self._refuse(body_too_large(min(BODY_MAX, self._plane.max_body_bytes)))
        else:
            self._parts.append(data)

    def on_end(self) -> None:
        self._request_whole = True
        if self.stage is not Stage.GATHERING:
            return
        body = b"".join(self._parts)
        try:
            self._ask = read_ask(self._endpoint, body)
        except BadRequest as error:
            self._tell(error)
            return
        self._parts = [body]
        if is_slug(self._ask.model):
            self._identify(self._ask.model, self._traced)
            self._count()
        else:
            self.refused(UNKNOWN)

    def _tell(self, error: BadRequest) -> None:
        self.stage = Stage.DONE
        self.client.reply(openai_replies.render(error.rendered(), close=self.client.closes))

    def on_client_gone(self) -> None:
        """Nobody is left to answer: Triton is told."""
        self._client_gone = True
        if self.stage is Stage.RUNNING:
            self._stop()
            self._finish_handed()
        elif self.stage is not Stage.DONE:
            self._withdraw()

    def on_client_full(self) -> None:
        if self.stage is Stage.RUNNING and self._upstream is not None:
            self._upstream.pause()

    def on_client_drained(self) -> None:
        if self.stage is Stage.RUNNING and self._upstream is not None:
            self._upstream.resume()

    def _units(self, caps: TokenCaps) -> int | None:
        newest = self._plane.versions.newest(self._slug)
        if newest is None:
            # Licensing says what is wrong.
            return 1
        text = newest.text
        if text is None:
            raise metering.NotMetered("this model is no text model; call it by /v2/models")
        try:
            self._ask.check(text)
        except BadRequest as error:
            raise metering.NotMetered(error.message) from None
        return self._bound(text)

    def _bound(self, text: TextModel) -> int:
        match self._rule.measure:
            case Measure.REQUEST:
                return 1
            case Measure.SECONDS:
                return self._plane.longest_s
            case Measure.BYTES:
                return max(1, self._size)
            case Measure.INPUT_TOKENS:
                return max(1, self._ask.input_bound(text))
            case Measure.OUTPUT_TOKENS:
                return max(1, self._ask.output_bound(text))
            case Measure.ROWS:
                return self._ask.texts

    def _hold_request(self) -> None:
        """It is whole already."""

    def _resume_request(self) -> None:
        """It is whole already."""

    # --- upstream

    def _acquire(self) -> Refusal | None:
        text = self._version.text
        if text is None or not self._fits(text):
            # The request was read by the newest version, and another is leased: the next lease names the right one.
            self._lease.renewable = False
            self._lease.retired = True
            return NOT_READY
        self._text = text
        return super()._acquire()

    def _fits(self, text: TextModel) -> bool:
        try:
            self._ask.check(text)
        except BadRequest:
            return False
        return True

    @property
    def _path(self) -> bytes:
        return INFER if isinstance(self._ask, Embedding) else STREAM_INFER

    @property
    def _may_run_twice(self) -> bool:
        return isinstance(self._ask, Embedding)

    def _request_bytes(self) -> bytes:
        name = self._name
        if self._commitments is None:
            self._commitments = Commitments(name, self._parts[0])
            self._tally = Tally(self._rule.measure, self._held_units)
            self._begin_events()
        self._reader = MessageReader(ANSWER_MAX)
        pinned = self._version.path.rpartition(b"/")[2].decode()
        most = self._ask.output_bound(self._text)
        if self._rule.measure is Measure.OUTPUT_TOKENS:
            # Units were counted by the newest version, which may write less than the leased one.
            most = min(most, self._held_units)
        return frame(self._ask.message(pinned, name, most))

    def _begin_events(self) -> None:
        if isinstance(self._ask, Generation) and self._ask.streams:
            self._events = self._ask.stream(self._answer_head())

    def _answer_head(self) -> Head:
        return Head(self._name, self._started_ns // 1_000_000_000, self._ask.model)

    # --- the answer

    @property
    def answer_started(self) -> bool:
        return self._begun

    @property
    def settled(self) -> bool:
        return self.client.gone or (self._ended and self._ends_at <= self.client.handed())

    def count_unsettled(self, change: int) -> None:
        self.client.unsettled += change

    def _on_answer(self, data: bytes) -> None:
        if self._lease.dead_code is not None:
            self._cut_short(revoked(self._lease.dead_code))
            return
        try:
            for message in self._reader.feed(data):
                if isinstance(self._ask, Embedding):
                    self._embed(message)
                else:
                    self._generate(read_stream(message))
        except (MessageError, Malformed):
            self._stop()
            self._fail(502, "the inference server's answer cannot be read")

    def _embed(self, message: bytes) -> None:
        if not isinstance(self._ask, Embedding):
            return
        # Kept until Triton has said that all went well.
        self._embedded = self._ask.answer(message)
        self._finished = True

    def _generate(self, said: Piece | Failure | None) -> None:
        if said is None or self._finished:
            return
        if isinstance(said, Failure):
            self._failure = said
            return
        self._finished = bool(said.finish_reason)
        if self._events is None:
            self._whole.piece(said)
            return
        data = self._events.piece(said)
        if not self._begun:
            data = self._events.opening() + data
        if data:
            self._hand_on_events(data, said.counts)

    def _hand_on_events(self, data: bytes, counts: TokenCounts) -> None:
        tokens = self._tokens(counts)
        chunk = b"%x\r\n%s\r\n" % (len(data), data)
        if not self._begun:
            head = openai_replies.stream_head(
                self._lease, self._name, self._stated_units(), self.client.closes
            )
            self._starts_at = self._ends_at = self.client.written + len(head)
            chunk = head + chunk
            self._begun = True
            self._ends_at -= len(head)
        if tokens is not None:
            self._tally.mark(self._ends_at + len(chunk), tokens)
        self.progressed(self._tally.by_now())
        self._send(data, chunk)

    def _stated_units(self) -> int | None:
        """What the call costs, where that is known before its answer."""
        measure = self._rule.measure
        return None if measure.of_tokens or measure is Measure.SECONDS else self._held_units

    def _tokens(self, counts: TokenCounts) -> int | None:
        match self._rule.measure:
            case Measure.INPUT_TOKENS:
                return counts.input_tokens
            case Measure.OUTPUT_TOKENS:
                return counts.output_tokens
            case _:
                return None

    def _settle(self, counts: TokenCounts) -> None:
        self._tally.settle(self._tokens(counts))

    def _whole_answer(self, body: bytes) -> None:
        head = openai_replies.whole_head(
            self._lease, self._name, self._tally.total, len(body), self.client.closes
        )
        self._ends_at = self.client.written
        self._starts_at = self._ends_at + len(head)
        self._begun = True
        self._send(body, head + body)

    def _send(self, body: bytes, framed: bytes) -> None:
        if self._commitments is not None:
            self._commitments.add(body)
        self._ends_at += len(framed)
        self.client.write(framed)

    def _on_answered(self) -> None:
        if self._failure is not None:
            self._on_failed(0, self._failure.message)
            return
        if not self._finished:
            self._fail(502, "the inference server's answer has no end")
            return
        if isinstance(self._ask, Embedding):
            body, counts = self._embedded
            self._settle(counts)
            self._whole_answer(body)
        elif self._events is None:
            self._settle(self._whole.counts)
            self._whole_answer(self._ask.whole(self._whole, self._answer_head()))
        else:
            self._tally.settle(None)
            self._end_chunks()
        self._ended = True
        self.stage = Stage.DONE
        self._plane.settle_when_handed_over(self)
        self.client.answered()

    def _end_chunks(self) -> None:
        self._ends_at += len(_LAST_CHUNK)
        self.client.write(_LAST_CHUNK)

    def _on_failed(self, status: int, message: str) -> None:
        self._finish(Outcome.UPSTREAM_ERROR, 0)
        self._end_with(errors.failed(message))

    # --- the end

    def _end_with(self, rendered: errors.Rendered) -> None:
        """An answer of its own, or the last event of a stream that has begun."""
        if not self._begun:
            self.client.reply(
                openai_replies.render(rendered, request_id=self._name, close=self.client.closes)
            )
            return
        event = errors.event(rendered)
        self.client.close_after_answer()
        self.client.write(b"%x\r\n%s\r\n" % (len(event), event) + _LAST_CHUNK)
        self.client.answered()

    def _refuse(self, refusal: Refusal, name: str = "") -> None:
        self.client.refuse(refusal, request_id=name)

    def _refuse_begun(self, refusal: Refusal) -> None:
        if self._begun:
            self._plane.counters.refused(refusal.code)
            self._end_with(errors.refused(refusal))
        else:
            self._refuse(refusal, self._name)

    def _tell_failure(self, status: int, reason: str) -> None:
        self.client.fail(status, reason)

    def _cut_answer(self) -> None:
        self.client.abort()

    def _worth_its_part(self) -> bool:
        return True

    def _charge(self, cut: Outcome = Outcome.CLIENT_GONE) -> tuple[Outcome, int]:
        handed_at = self.client.handed()
        if self._ended and self._ends_at <= handed_at:
            return Outcome.OK, self._tally.total
        handed, size = handed_at - self._starts_at, self._ends_at - self._starts_at
        if not self._begun or handed <= 0 or size <= 0:
            return cut, 0
        return cut, self._tally.part(handed_at, min(handed, size), size)
