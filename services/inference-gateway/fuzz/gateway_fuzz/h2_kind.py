"""A client's bytes over HTTP/2: each call that reaches Triton is a message that a client sent, and only renamed."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Final, cast

from google.protobuf.message import DecodeError
from licet_gateway.dataplane.grpc_front import GrpcConnection
from tritonclient.grpc import service_pb2

from gateway_fuzz import h2_sessions
from gateway_fuzz.engine import Case, WrongError
from gateway_fuzz.h2_frames import PREFACE, Side, frames_of, messages_of, side_of
from gateway_fuzz.h2_triton import METADATA, Called, GrpcTriton, refuses
from gateway_fuzz.http_kind import same_trace
from gateway_fuzz.plane import RULES, Bench, Benches, pinned
from gateway_fuzz.turning import Pipe

_PATHS: Final = (h2_sessions.SERVICE + b"ModelInfer", h2_sessions.SERVICE + b"ModelStreamInfer")
_OWN: Final = {
    b":method": b"POST",
    b":scheme": b"http",
    b":authority": b"triton.test:8001",
    b"te": b"trailers",
    b"content-type": b"application/grpc",
}
_TRACED: Final = (b"traceparent", b"tracestate")
# gRPC's statuses of a server that is at fault: UNKNOWN, INTERNAL, UNAVAILABLE, DATA_LOSS.
_OURS: Final = frozenset({b"2", b"13", b"14", b"15"})
# INTERNAL is what gRPC asks for where a message's first byte is no flag.
_THEIRS: Final = b"not a gRPC message"
_INTERNAL_ERROR: Final = 2
# What is said to a client is small, so that nobody makes the gateway keep much by saying little.
SAID_MIN: Final = 64 * 1024
CASES_MAX: Final = 5_000


class H2Kind:
    """Of one connection."""

    name = "h2"

    def __init__(self) -> None:
        self._benches = Benches(self._connect, CASES_MAX)
        self._calls: list[Called] = []

    def make(self, rng: Random) -> Case:
        return h2_sessions.session(rng)

    def check(self, case: Case) -> None:
        self._calls.clear()
        with self._benches.case() as bench:
            client = self._talk(bench, case)
            bench.check_at_rest()
        check_called(case, self._calls)
        check_answers(client, case, self._calls)

    def close(self) -> None:
        self._benches.close()

    def _connect(self, protocol: asyncio.BaseProtocol, port: int) -> asyncio.Transport:
        made = GrpcTriton(asyncio.get_running_loop(), cast(asyncio.Protocol, protocol))
        made.calls = self._calls
        return made

    @staticmethod
    def _talk(bench: Bench, case: Case) -> Pipe:
        connection = GrpcConnection(bench.plane)
        client = Pipe(bench.loop.loop, connection)
        connection.connection_made(client)
        bench.turn()
        for piece in case:
            if piece:
                client.say(piece)
            else:
                bench.turn()
        bench.turn()
        client.leave()
        bench.turn()
        return client


def check_called(case: Case, calls: list[Called]) -> None:
    """Raises WrongError where a call is not one that a client made."""
    said = side_of(b"".join(case).removeprefix(PREFACE))
    sent = [
        (stream.field(b":path"), message, tuple(stream.field(name) for name in _TRACED))
        for stream in said.streams.values()
        for message in messages_of(stream.data)
    ]
    for called in calls:
        path, heard = called.field(b":path"), messages_of(called.body)
        if path == METADATA:
            continue
        _check_head(called)
        if not called.whole and called.reset:
            continue
        if len(heard) != 1 or len(called.body) != 5 + len(heard[0]):
            raise WrongError(f"another body: Triton heard {called.body[:200]!r}")
        traced = tuple(called.field(name) for name in _TRACED)
        for meant in sent:
            if meant[0] == path and _is_renamed(meant[1], heard[0]) and _same_trace(meant[2], traced):
                sent.remove(meant)
                break
        else:
            raise WrongError(f"nobody sent it: Triton heard {path!r} {traced} {heard[0][:200]!r}")


def _check_head(called: Called) -> None:
    if called.field(b":path") not in _PATHS or any(
        called.field(name) != value for name, value in _OWN.items()
    ):
        raise WrongError(f"another head: {called.headers}")
    extra = {name for name, _ in called.headers} - set(_OWN) - set(_TRACED) - {b":path"}
    if extra:
        raise WrongError(f"other fields: Triton heard {extra}")


def _same_trace(meant: tuple[bytes | None, ...], heard: tuple[bytes | None, ...]) -> bool:
    if heard == meant:
        return True
    # A span of the gateway's own replaces both fields.
    return heard[1] is None and heard[0] is not None and same_trace(meant[0], heard[0])


def _is_renamed(meant: bytes, heard: bytes) -> bool:
    try:
        name = service_pb2.ModelInferRequest.FromString(meant).model_name
    except DecodeError:
        # Triton refuses it whatever it is called; the name is what the gateway read.
        return heard.startswith(meant)
    new = pinned(name).encode()
    return heard == meant + b"\x0a%c%s\x12\x00" % (len(new), new)


def check_answers(client: Pipe, case: Case, calls: list[Called]) -> None:
    """Raises WrongError where the client was told what is no HTTP/2, or that the gateway is at fault."""
    sent = bytes(client.sent)
    if sum(9 + len(payload) for *_, payload in frames_of(sent)) != len(sent):
        raise WrongError("malformed answer: half a frame")
    said = side_of(sent)
    if said.fault or _INTERNAL_ERROR in said.goaways:
        raise WrongError(f"malformed answer: {said.fault or 'INTERNAL_ERROR'}")
    if len(sent) > SAID_MIN + 2 * sum(map(len, case)):
        raise WrongError(f"too much: {len(sent)} bytes were said")
    for stream in said.streams.values():
        if stream.field(b"grpc-status") in _OURS and stream.field(b"grpc-message") != _THEIRS:
            raise WrongError(f"a fault of ours: {stream.blocks}")
    _check_units(said, calls)


def _check_units(said: Side, calls: list[Called]) -> None:
    stated = (stream.field(b"x-licet-units") for stream in said.streams.values())
    charged = Counter(int(units) for units in stated if units is not None)
    due = Counter(units_of(called) for called in calls if called.whole and not refuses(called))
    if charged - due:
        raise WrongError(f"other units: {charged} were charged, {due} are due")


def units_of(called: Called) -> int:
    """What an answered call costs; of what Triton would refuse, -1."""
    (heard,) = messages_of(called.body)
    if called.field(b":path") == METADATA:
        return -1
    try:
        request = service_pb2.ModelInferRequest.FromString(heard)
    except DecodeError:
        return -1
    model = next(model for model in RULES if pinned(model) == request.model_name)
    match RULES[model]:
        case "request":
            return 1
        case "bytes":
            return len(heard) - len(pinned(model)) - 4
        case _:
            return next((t.shape[0] for t in request.inputs if t.name == "X"), -1)
