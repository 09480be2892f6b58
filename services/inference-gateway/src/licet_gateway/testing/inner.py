"""A data plane inside the test's own process, between real sockets and an upstream that does as it is told.

For what a real Triton never does: answer too early, too late, twice, malformed, or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from licet_kit.testing.waiting import eventually

from licet_gateway.dataplane.client import ClientConnection
from licet_gateway.dataplane.counters import CounterReader
from licet_gateway.dataplane.plane import DataPlane
from licet_gateway.dataplane.pool import Ask
from licet_gateway.dataplane.tls import TlsConnection
from licet_gateway.dataplane.upstream import UpstreamPool
from licet_gateway.dataplane.versions import VersionState
from licet_gateway.domain import LeaseTerms, TokenCaps
from licet_gateway.settings import DataPlaneLimits
from licet_gateway.shipping.reader import Finished, LogReader
from licet_gateway.telemetry import CallTracer
from licet_gateway.testing.keys import CHAIN_ID, ApiKey, api_key
from licet_gateway.testing.wire import Wire, request, wire

SLUG = "acme/risk"
DIGEST = "0x" + "5a" * 32
PATH = "/v2/models/acme.risk/infer"
UNITS = 1000
CAPS = TokenCaps(UNITS, UNITS)


@dataclass
class Upstream:
    """Sends `script` when it has heard `after` bytes of body or more; closes behind it if told to."""

    script: bytes = b""
    after: bytes = b"\r\n\r\n"
    closes: bool = False
    # Closes on this many requests, before a byte of an answer, and does not count them as `served`.
    cuts: int = 0
    served: int = 0
    heard: bytearray = field(default_factory=bytearray)
    connections: int = 0
    _unanswered: list[asyncio.StreamWriter] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def answer_now(self) -> None:
        """Sends the script to everyone who waits for an answer."""
        for writer in self._unanswered:
            self.served += 1
            writer.write(self.script)
        self._unanswered.clear()

    async def ended(self) -> None:
        """Waits until every connection is closed; the other side has closed them."""
        await asyncio.gather(*self._tasks)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        with contextlib.suppress(OSError):
            waiting = b""
            while data := await reader.read(65536):
                self.heard += data
                waiting += data
                if self.after in waiting and self.cuts:
                    self.cuts -= 1
                    break
                if self.after in waiting and not self.script:
                    waiting = b""
                    self._unanswered.append(writer)
                elif self.after in waiting:
                    waiting = b""
                    self.served += 1
                    writer.write(self.script)
                    if self.closes:
                        break
            writer.close()
            await writer.wait_closed()


class Lender:
    """Licensing that grants everything at once, for one model."""

    def __init__(self, rule: str) -> None:
        self._rule = rule
        self._leases = 0
        self.plane: DataPlane | None = None

    def ask(self, ask: Ask) -> None:
        if self.plane is not None:
            asyncio.get_running_loop().call_soon(self.plane.book.granted, ask, self._terms(ask))

    def give_back(self, lease_id: str, spent: int, last_sequence: int) -> None:
        """A hint that nobody here needs."""

    def _terms(self, ask: Ask) -> LeaseTerms:
        self._leases += 1
        return LeaseTerms(
            lease_id=f"{self._leases:032x}",
            grant_id="31337:0xlicense:1:0",
            generation=1,
            account_id=ask.credential.api_key_hash.hex(),
            account_lease=self._leases,
            plan_id="1",
            asset_id="0x01",
            version_digest=DIGEST,
            units=UNITS,
            ttl_ms=30_000,
            price_book_version="31337:0xplanbook:1",
            metering_rule=self._rule,
            decision_id="decision",
            slug=SLUG,
        )


@dataclass
class Inner:
    """What a test holds in its hands."""

    plane: DataPlane
    upstreams: list[Upstream]
    port: int
    key: ApiKey
    _reader: LogReader
    _folder: Path
    _rule: str

    @property
    def upstream(self) -> Upstream:
        """The only one, or the first."""
        return self.upstreams[0]

    def announce(self, *, ordinal: int, ready: bool = True) -> None:
        """What the vault says of every upstream."""
        for pool in self.plane.replicas.pools:
            self.plane.versions.apply(
                VersionState(SLUG, DIGEST, pool.url, ready, self._rule, ordinal, caps=CAPS)
            )

    def total(self, name: str) -> int:
        """A counter of the worker."""
        return CounterReader(self._folder).totals()[name]

    def records(self) -> list[Finished]:
        """Records written since the last look."""
        self.plane.log.flush()
        return self._reader.read()


@asynccontextmanager
async def inner(
    folder: Path,
    *,
    rule: str = "request",
    limits: DataPlaneLimits | None = None,
    replicas: int = 1,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Inner]:
    """Starts it, behind TLS where a context is given; the data plane is closed and checked to be at rest afterwards."""
    upstreams = [Upstream() for _ in range(replicas)]
    up_servers = [await asyncio.start_server(upstream.serve, "127.0.0.1", 0) for upstream in upstreams]
    urls = tuple(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in up_servers)
    lender = Lender(rule)
    plane = DataPlane(
        folder, lender, urls, limits or DataPlaneLimits(), chains=[CHAIN_ID], tracer=CallTracer(0.0)
    )
    lender.plane = plane
    plane.caught_up = True
    make: Callable[[], asyncio.Protocol] = partial(ClientConnection, plane)
    if tls is not None:
        make = partial(TlsConnection, plane, tls, make)
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        made = Inner(plane, upstreams, port, api_key(1), LogReader(folder), folder, rule)
        made.announce(ordinal=1)
        yield made
        assert plane.busy == 0, f"{plane.busy} calls are not recorded"
        assert not any(lease.holders for lease in plane.book.live_leases())
    finally:
        server.close()
        plane.close()
        for up_server, upstream in zip(up_servers, upstreams, strict=True):
            up_server.close()
            await upstream.ended()


async def waiting_calls(
    inside: Inner, stack: contextlib.AsyncExitStack, key: ApiKey, count: int
) -> list[Wire]:
    """So many calls that wait, all of one key; the body names the key."""
    (pool,) = inside.plane.replicas.pools
    made = [await stack.enter_async_context(wire(inside.port)) for _ in range(count)]
    for connection in made:
        wanted = pool.load + 1
        await connection.send(request("POST", PATH, b"<%s>" % key.digest.hex()[:6].encode(), key.header))
        await eventually(partial(_loaded, pool, wanted), 5, what="the waiting call")
    return made


def _loaded(pool: UpstreamPool, wanted: int) -> bool:
    return pool.load == wanted
