"""A JSON-RPC proxy in front of a real node that fails on purpose, by a seeded plan.

Faults are those of hosted nodes: a refused or broken answer, an error for one call of a batch, a batch out of order or
cut short, a timeout, missing logs, null for a block that exists, and an answer from before (a member of a load-balanced
set that is late or on another fork).
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

_Entry = dict[str, Any]


class FaultyNode:
    """The proxy. `rate` is the chance of a fault in each request and in each answer; both may change at any time."""

    def __init__(self, upstream: str, seed: int) -> None:
        self.upstream = upstream
        self.rate = 0.0
        self.url = ""
        self.injected = 0
        # What a test puts in place of an answer, given the call and the true one.
        self.tamper: Callable[[_Entry, _Entry], _Entry] | None = None
        self._random = random.Random(seed)  # noqa: S311 - a replayable plan, not a secret
        self._earlier: dict[str, list[Any]] = {}
        self._session: aiohttp.ClientSession | None = None

    def _strikes(self) -> bool:
        struck = self._random.random() < self.rate
        self.injected += struck
        return struck

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Forwards a request, or fails."""
        body = await request.json()
        if self._strikes():
            match self._random.choice(["refuse", "cut", "hang", "html"]):
                case "refuse":
                    return web.Response(status=503, text="busy")
                case "cut":
                    return web.Response(
                        text='[{"jsonrpc":"2.0","id":1,"resu', content_type="application/json"
                    )
                case "hang":
                    await asyncio.sleep(30)
                case _:
                    return web.Response(text="<html>sorry</html>", content_type="text/html")
        assert self._session is not None
        async with self._session.post(self.upstream, json=body) as response:
            answer = await response.json(content_type=None)
        if isinstance(body, list) and isinstance(answer, list):
            answer = self._spoil(body, answer)
        return web.Response(text=json.dumps(answer), content_type="application/json")

    def _spoil(self, calls: list[_Entry], answers: list[_Entry]) -> list[_Entry]:
        by_id = {answer["id"]: answer for answer in answers}
        spoiled = [self._spoil_one(call, by_id[call["id"]]) for call in calls]
        if self._strikes():
            self._random.shuffle(spoiled)
        if self._strikes():
            spoiled = spoiled[: self._random.randrange(len(spoiled))]
        return spoiled

    def _spoil_one(self, call: _Entry, answer: _Entry) -> _Entry:
        if self.tamper is not None:
            answer = self.tamper(call, answer)
        name = json.dumps([call["method"], call["params"]])
        earlier = self._earlier.setdefault(name, [])
        if "result" in answer and answer["result"] not in earlier:
            earlier.append(answer["result"])
            del earlier[:-8]
        if not self._strikes():
            return answer
        spoilers: list[Callable[[], _Entry]] = [
            lambda: {
                "jsonrpc": "2.0",
                "id": call["id"],
                "error": {"code": -32005, "message": "limit exceeded"},
            },
            lambda: {**answer, "result": None},
            lambda: {**answer, "result": self._random.choice(earlier)} if earlier else answer,
            lambda: self._fewer_logs(answer),
        ]
        return self._random.choice(spoilers)()

    def _fewer_logs(self, answer: _Entry) -> _Entry:
        result = answer.get("result")
        if not isinstance(result, list):
            return answer
        return {**answer, "result": [entry for entry in result if self._random.random() < 0.5]}


@asynccontextmanager
async def faulty_node(upstream: str, seed: int) -> AsyncIterator[FaultyNode]:
    """Serves a FaultyNode on a free port of the loopback."""
    node = FaultyNode(upstream, seed)
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_post("/", node.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    async with aiohttp.ClientSession() as session:
        node._session = session
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        node.url = f"http://127.0.0.1:{port}"
        try:
            yield node
        finally:
            await runner.cleanup()
