"""Callers on connections that are kept: each makes one call after another and writes down what it was told."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import grpc
import grpc.aio

from licet_gateway.testing.scene import Scene
from licet_gateway.testing.storm.calls import (
    HELD_RESPONSES,
    ROWS_MAX,
    TOKENS_MAX,
    Fate,
    Told,
    Way,
    grpc_message,
    http_request,
)
from licet_gateway.testing.wire import Wire, wire

LONGEST_CALL_S = 4.0
# How soon who finds nobody calls again; and how often who waits for the last faults after enough calls.
AGAIN_S = 0.05
PACE_S = 0.4
_TOKENS = re.compile(rb'"output_tokens": ?(\d+)')
_METHOD = "/inference.GRPCInferenceService/ModelInfer"
_BACKOFF = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 300),
)


@dataclass
class Clients:
    """All callers of a storm. `newest` is whom the eager ones among them call for."""

    scene: Scene
    accounts: list[Scene]
    chance: random.Random
    calls: int
    made: list[Told] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    killed: bool = False
    newest: Scene | None = None

    async def run(self, at_once: int) -> None:
        """Calls until there were enough, and every fault was met by load."""
        async with asyncio.TaskGroup() as group:
            for number in range(at_once):
                make = self._by_grpc if number % 8 == 7 else partial(self._by_http, eager=number % 4 == 0)
                group.create_task(self._caller(make))

    def begin(self, way: Way, *, eager: bool = False, held: bool = False) -> Told:
        """The next call."""
        account = self.newest if eager and self.newest else self.chance.choice(self.accounts)
        units = self.chance.randint(4, TOKENS_MAX) if way is Way.STREAM else self.chance.randint(1, ROWS_MAX)
        told = Told(len(self.made) + 1, way, units, account, time.monotonic(), held=held)
        self.made.append(told)
        return told

    async def hold_stream(self, arrived: Callable[[Told], None]) -> None:
        """A stream whose client waits for more than comes; `arrived` is told when what comes is there."""
        told = self.begin(Way.STREAM, held=True)
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            async with wire(self.scene.gateway.port) as connection, asyncio.timeout(LONGEST_CALL_S + 2):
                await connection.send(http_request(told))
                await self._head(connection, told)
                if told.status != 200:
                    await connection.receive_chunk()
                    return
                await self._events(connection, told, HELD_RESPONSES)
                arrived(told)
                await self._events(connection, told, TOKENS_MAX)
        told.calm = not self.killed

    async def _caller(self, make: Callable[[], Awaitable[bool]]) -> None:
        while len(self.made) < self.calls or not self.over.is_set():
            if not await make():
                await self._pause(AGAIN_S)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.over.wait()

    async def _by_http(self, *, eager: bool) -> bool:
        """Calls on one connection until it ends; false where nobody is there."""
        try:
            async with wire(self.scene.gateway.port) as connection:
                while await self._call(connection, eager=eager):
                    if len(self.made) >= self.calls:
                        if self.over.is_set():
                            break
                        await self._pause(PACE_S)
        except OSError:
            return False
        return True

    async def _call(self, connection: Wire, *, eager: bool) -> bool:
        """One call; whether the connection serves another."""
        told = self.begin(Way.STREAM if self.chance.random() < 0.1 else Way.HTTP, eager=eager)
        try:
            async with asyncio.timeout(LONGEST_CALL_S + 2):
                return await self._talk(connection, told)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            told.fate = Fate.CUT if told.status == 200 else Fate.LOST
            return False
        finally:
            told.calm = not self.killed

    async def _talk(self, connection: Wire, told: Told) -> bool:
        sent, fate = http_request(told), self.chance.random()
        if fate < 0.01:
            told.fate = Fate.LEFT_BODY
            await connection.send(sent[: len(sent) - 9])
            return False
        await connection.send(sent)
        if fate < 0.02:
            told.fate = Fate.LEFT_WAITING
            return False
        headers = await self._head(connection, told)
        if told.status != 200:
            told.fate = Fate.REFUSED
            await connection.receive_body(headers)
        elif told.way is Way.STREAM:
            if fate < 0.1:
                told.fate = Fate.LEFT_ANSWER
                await self._events(connection, told, 1)
                return False
            await self._events(connection, told, TOKENS_MAX + 1)
            told.fate = Fate.WHOLE
        else:
            await connection.receive_body(headers)
            told.fate = Fate.WHOLE
        return headers.get("connection") != "close"

    async def _head(self, connection: Wire, told: Told) -> dict[str, str]:
        told.status, headers = await connection.receive_head()
        told.answered_s = time.monotonic()
        told.request_id = headers.get("x-licet-request-id", "")
        return headers

    async def _events(self, connection: Wire, told: Told, responses: int) -> None:
        """Reads so many events, or to the end."""
        data = b""
        while data.count(b"\n\n") < responses and (piece := await connection.receive_chunk()):
            data += piece
            told.taken = max([told.taken, *(int(n) for n in _TOKENS.findall(piece))])

    async def _by_grpc(self) -> bool:
        """Calls on one channel until one fails."""
        target = f"127.0.0.1:{self.scene.gateway.grpc_port}"
        async with grpc.aio.insecure_channel(target, options=_BACKOFF) as channel:
            method = channel.unary_unary(_METHOD, request_serializer=None, response_deserializer=None)
            while len(self.made) < self.calls or not self.over.is_set():
                if not await self._unary(method):
                    return False
                if len(self.made) >= self.calls:
                    await self._pause(PACE_S)
        return True

    async def _unary(self, method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]) -> bool:
        told = self.begin(Way.GRPC)
        key = tuple((name.lower(), value) for name, value in told.account.key.header.items())
        message = grpc_message(told, told.account.models[told.kind])
        running = method(message, metadata=key, timeout=LONGEST_CALL_S + 2)
        try:
            await running
        except grpc.aio.AioRpcError as error:
            told.fate = Fate.LOST
            return error.code() is not grpc.StatusCode.UNAVAILABLE
        finally:
            told.calm = not self.killed
        told.fate, told.status, told.answered_s = Fate.WHOLE, 200, time.monotonic()
        metadata = await running.initial_metadata()
        told.request_id = str(dict(metadata)["x-licet-request-id"])
        return True
