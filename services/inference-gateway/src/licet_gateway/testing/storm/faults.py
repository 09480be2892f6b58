"""What befalls a gateway in a storm, one fault after another, while callers call."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from licet_kit.testing.waiting import eventually
from licet_schemas.licet.licensing.v1 import licensing_pb2 as pb

from licet_gateway.testing.books import Books
from licet_gateway.testing.loaded import LoadedModel, command
from licet_gateway.testing.scene import Scene
from licet_gateway.testing.servers import OwnTriton
from licet_gateway.testing.storm.calls import Told
from licet_gateway.testing.storm.clients import Clients
from licet_gateway.testing.storm.compare import REACHES_S

PLENTY = 10**9
TTL_S = 2.0
# Of a lease that a revocation overtakes: it is still good when no further call may be made on it.
LATE_TTL_S = 5.0
HELD_STREAMS = 4
# Progress is written ten times a second.
TOLD_S = 0.5
REVOKED = pb.Denial(code="license_revoked", message="revoked", remedy="renew", decision_id="decision-2")


@dataclass
class Faults:
    """The injector. `triton` is its own; everything that it ends is this storm's."""

    scene: Scene
    clients: Clients
    books: Books
    triton: OwnTriton
    there: dict[str, LoadedModel]
    chance: random.Random
    report: Callable[[str], None]
    killed: set[str] = field(default_factory=set)
    revoked_s: dict[int, float] = field(default_factory=dict)

    @property
    def kinds(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            "kill worker": self._kill_worker,
            "kill gateway": self._kill_gateway,
            "kill Triton": self._kill_triton,
            "pause worker": self._pause_worker,
            "full disk": self._fill_disk,
            "full disk and kill worker": self._fill_disk_and_kill,
            "cut licensing": self._cut_licensing,
            "licensing away": self._licensing_away,
            "revoke": self._revoke,
        }

    async def run(self, rounds: int, calls: int) -> None:
        """Every fault once a round, in random order at random moments, after a quarter of the calls."""
        only = os.environ.get("LICET_STORM_FAULTS")
        names = only.split(",") if only else list(self.kinds)
        plan = [name for _ in range(rounds) for name in self.chance.sample(names, len(names))]
        moments = sorted(self.chance.randrange(calls // 4, calls) for _ in plan)
        for moment, name in zip(moments, plan, strict=True):
            await eventually(partial(self._made, moment), 900, what="enough calls")
            began_s, at = time.monotonic(), len(self.clients.made)
            await self.kinds[name]()
            self.report(f"{name} at call {at} for {time.monotonic() - began_s:.1f} s")
        self.clients.over.set()

    def _made(self, calls: int) -> bool:
        return len(self.clients.made) >= calls

    def _die(self, pids: list[int]) -> None:
        self.clients.killed = True
        for pid in pids:
            self.killed.add(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[3].decode())

    @asynccontextmanager
    async def _streams(self) -> AsyncIterator[None]:
        """Inside, streams are in their middle, and what they gave by then is written down."""
        arrived: list[Told] = []
        tasks = [asyncio.create_task(self.clients.hold_stream(arrived.append)) for _ in range(HELD_STREAMS)]
        began_s = time.monotonic()
        await eventually(
            lambda: time.monotonic() > began_s + TOLD_S and (arrived or all(t.done() for t in tasks)), 10
        )
        yield
        await asyncio.gather(*tasks)

    async def _ready(self) -> None:
        await eventually(self.scene.gateway.ready, 40, what="the gateway's readiness")

    async def _kill_worker(self) -> None:
        async with self._streams():
            pid = self.chance.choice(self.scene.gateway.workers())
            self._die([pid])
            os.kill(pid, signal.SIGKILL)
        await self._ready()

    async def _kill_gateway(self) -> None:
        gateway = self.scene.gateway
        self._die(gateway.workers())
        gateway.kill()
        if gateway.process is not None:
            await gateway.process.wait()
        await gateway.start()

    async def _kill_triton(self) -> None:
        self.clients.killed = True
        async with self._streams():
            await self.triton.kill()
        await self.triton.restart()
        for model in self.there.values():
            path = f"/v2/repository/models/{model.pinned}/load"
            await asyncio.to_thread(command, self.triton.http, path)

    async def _pause_worker(self) -> None:
        """Longer than any lease lasts, and than a request may be on its way."""
        pid = self.chance.choice(self.scene.gateway.workers())
        os.kill(pid, signal.SIGSTOP)
        await self._elapse(TTL_S + 2)
        os.kill(pid, signal.SIGCONT)
        await self._ready()

    async def _fill_disk(self, *, kill: bool = False) -> None:
        pid = self.chance.choice(self.scene.gateway.workers())
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
        await self._elapse(1.0)
        if kill:
            self._die([pid])
            os.kill(pid, signal.SIGKILL)
        else:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        await self._ready()

    async def _fill_disk_and_kill(self) -> None:
        await self._fill_disk(kill=True)

    async def _cut_licensing(self) -> None:
        self.scene.licensing.break_streams()

    async def _licensing_away(self) -> None:
        await self.scene.licensing.leave()
        await self._elapse(1.0)
        await self.scene.licensing.serve()

    async def _revoke(self) -> None:
        """A new caller's first leases are granted, its right falls, and only then the grants arrive."""
        account = self.scene.visitor()
        for right in account.rights.values():
            right.free = right.lease_units = PLENTY // 1000
            right.ttl_ms = int(LATE_TTL_S * 1000)
        self.books.open_for(account)
        right = account.rights["counted"]
        free = right.free
        for each in account.rights.values():
            each.late = True
        self.clients.newest = account
        await eventually(lambda: right.free < free, 10, what="a lease that is granted")
        for each in account.rights.values():
            each.denial = REVOKED
            each.generation += 1
        await self.scene.announce.revocation(right.grant_id, right.generation)
        told_s = self.revoked_s[id(account)] = time.monotonic()
        await self._elapse(0.5)
        for each in account.rights.values():
            each.late = False
        await self._elapse(told_s + REACHES_S + 1 - time.monotonic())
        self.clients.newest = None
        self.clients.accounts.append(account)

    async def _elapse(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        await eventually(lambda: time.monotonic() >= until_s, seconds + 10)
