"""A client's bytes over HTTP/1.1: what reaches Triton must be what llhttp reads of them, and nothing else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from random import Random
from typing import Final, cast

from licet_gateway.dataplane.client import ClientConnection

from gateway_fuzz import http_requests
from gateway_fuzz.engine import Case, WrongError
from gateway_fuzz.http_messages import Answer, Message, answers_of, requests_of, stops_early
from gateway_fuzz.http_triton import HttpTriton, refuses
from gateway_fuzz.json_kind import rows_by_first_key
from gateway_fuzz.plane import AUTHORITY, RULES, Bench, Benches, pinned
from gateway_fuzz.turning import Pipe

_ROUTE: Final = re.compile(rb"/v2/models/([a-z0-9-]+\.[a-z0-9-]+)(/infer|/generate|/generate_stream)")
_SAMPLED: Final = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f][13579bdf]")
_FORWARDED: Final = (b"content-type", b"inference-header-content-length", b"traceparent", b"tracestate")
_FRAMING: Final = frozenset({b"host", b"content-length", b"transfer-encoding"})
# Of ours: the gateway must never find itself, or a Triton that is well, at fault. 501 and 505 tell the client its own.
OURS: Final = frozenset({500, 502, 503, 504})
# Cases that one plane serves; its log grows.
CASES_MAX: Final = 20_000


class HttpKind:
    """Of one connection."""

    name = "http"

    def __init__(self) -> None:
        self._benches = Benches(self._connect, CASES_MAX)
        self._heard: list[Message] = []

    def make(self, rng: Random) -> Case:
        return http_requests.stream(rng)

    def check(self, case: Case) -> None:
        self._heard.clear()
        with self._benches.case() as bench:
            client = self._talk(bench, case)
            bench.check_at_rest()
        answers = answers_of(bytes(client.sent), cut=client.aborted)
        check_heard(case, self._heard)
        check_answers(answers, self._heard)

    def close(self) -> None:
        self._benches.close()

    def _connect(self, protocol: asyncio.BaseProtocol, port: int) -> asyncio.Transport:
        made = HttpTriton(asyncio.get_running_loop(), cast(asyncio.Protocol, protocol))
        made.messages = self._heard
        return made

    @staticmethod
    def _talk(bench: Bench, case: Case) -> Pipe:
        connection = ClientConnection(bench.plane)
        client = Pipe(bench.loop.loop, connection)
        connection.connection_made(client)
        for piece in case:
            if piece:
                client.say(piece)
            else:
                bench.turn()
        bench.turn()
        client.leave()
        bench.turn()
        return client


def check_heard(case: Case, heard: list[Message]) -> None:
    """Each request that Triton heard is one that the client sent, in its order."""
    sent, ended = requests_of(b"".join(case))
    waiting = iter(sent)
    for message in heard:
        if message.method == b"GET":
            continue
        check_own_fields(message, AUTHORITY)
        if any(is_meant(meant, message, target_of(meant, pinned)) for meant in waiting):
            continue
        if stops_early(ended, b"".join(case)):
            return
        raise WrongError(f"nobody sent it: Triton heard {message.shown}; llhttp: {ended}")


def is_meant(meant: Message, heard: Message, target: bytes | None) -> bool:
    """Whether this is what the client meant, in the gateway's words and at this target."""
    if meant.method != b"POST" or target != heard.target or (heard.whole and not meant.whole):
        return False
    same_body = heard.body == meant.body if heard.whole else meant.body.startswith(heard.body)
    return same_body and all(_same_field(name, meant.one(name), heard.one(name)) for name in _FORWARDED)


def _same_field(name: bytes, meant: bytes | None, heard: bytes | None) -> bool:
    return same_trace(meant, heard) if name == b"traceparent" else meant == heard


def same_trace(meant: bytes | None, heard: bytes | None) -> bool:
    """Whether this `traceparent` goes on: a sampled trace does so in a span of the gateway."""
    if meant is not None and heard is not None and _SAMPLED.fullmatch(heard):
        return heard[:35] == meant[:35]
    return meant == heard


def target_of(meant: Message, name: Callable[[str], str]) -> bytes | None:
    """What Triton must be asked for; `name` gives a model's name there."""
    route = _ROUTE.fullmatch(meant.target)
    return None if route is None else f"/v2/models/{name(route[1].decode())}".encode() + route[2]


def check_own_fields(heard: Message, authority: bytes) -> None:
    """Raises WrongError where Triton heard a field that is not on the list."""
    if heard.one(b"host") != authority:
        raise WrongError("another host")
    extra = {name for name, _ in heard.headers} - _FRAMING - set(_FORWARDED)
    if extra:
        raise WrongError(f"other fields: Triton heard {extra}")


def check_answers(answers: list[Answer], heard: list[Message]) -> None:
    """No answer blames the gateway or Triton, and each call costs what its bytes say."""
    ours = [answer for answer in answers if answer.status in OURS]
    if ours:
        raise WrongError(f"a fault of ours: {ours[0].status} {ours[0].body[:200]!r}")
    charged = [
        int(answer.headers["x-licet-units"]) for answer in answers if "x-licet-units" in answer.headers
    ]
    meant = [units_of(message) for message in heard if message.whole and message.method == b"POST"]
    if charged != [units for units in meant if units is not None] and None not in meant:
        raise WrongError(f"other units: {charged} were charged, {meant} are due")


def units_of(message: Message) -> int | None:
    """What an answered call costs; None where this reference cannot tell."""
    if refuses(message):
        return 0
    model = next(model for model in RULES if pinned(model).encode() in message.target)
    match RULES[model]:
        case "request":
            return 1
        case "bytes":
            return max(1, len(message.body))
        case _:
            size = message.one(b"inference-header-content-length")
            return rows_by_first_key(message.body if size is None else message.body[: int(size)])
