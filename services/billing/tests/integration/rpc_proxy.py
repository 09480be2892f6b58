"""Stands between a client and its node, and spoils the calls that a test names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto

import aiohttp
from aiohttp import web
from licet_kit.testing.deployment import DeployedChain


class Fault(Enum):
    """What happens to a call."""

    # It never reaches the node, and the connection breaks.
    LOSE_CALL = auto()
    # The node does it, and the connection breaks before the answer.
    LOSE_ANSWER = auto()


@dataclass
class RpcProxy:
    """`faults` maps a JSON-RPC method to what happens to it; `calls` counts what reached the node."""

    deployed: DeployedChain
    url: str = ""
    faults: dict[str, Fault] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        method = (await request.json()).get("method", "")
        fault = self.faults.get(method)
        if fault is Fault.LOSE_CALL:
            return self._break(request)
        self.calls[method] = self.calls.get(method, 0) + 1
        headers = {"content-type": "application/json"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.deployed.anvil.rpc_url, data=body, headers=headers) as answer,
        ):
            content = await answer.read()
        if fault is Fault.LOSE_ANSWER:
            return self._break(request)
        return web.Response(body=content, content_type="application/json")

    @staticmethod
    def _break(request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)


@asynccontextmanager
async def rpc_proxy(deployed: DeployedChain) -> AsyncIterator[RpcProxy]:
    """Runs a proxy in front of this chain."""
    proxy = RpcProxy(deployed)
    app = web.Application()
    app.router.add_post("/", proxy._handle)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield proxy
    finally:
        await runner.cleanup()
