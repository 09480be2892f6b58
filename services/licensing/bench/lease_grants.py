"""Licensing's figures: leases a second, from a worker's request over gRPC to the reply that Postgres has committed.

Requests of 16 or 256 at once share transactions as in the service; every lease is read back from the table afterwards.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import grpc.aio
import uvloop
from licet_kit.clock import ManualClock, SystemClock
from licet_kit.db import open_engine
from licet_kit.ids import new_id
from licet_kit.testing.databases import Databases
from licet_kit.testing.servers import repository_root, running_servers
from licet_licensing.api.batching import Batcher
from licet_licensing.api.lease_service import LeaseServicer, serve_leases
from licet_licensing.main import MIGRATIONS
from licet_licensing.testing.words import ALICE, SLUG
from licet_licensing.testing.world import POLICY, World
from licet_schemas.licet.licensing.v1 import licensing_pb2 as pb
from licet_schemas.licet.licensing.v1 import licensing_pb2_grpc as stubs

TOKEN: Final = "worker-token-of-the-bench"  # noqa: S105  a token of this process alone
WORKER: Final = (("authorization", f"Bearer {TOKEN}"),)
PORT: Final = 28_111
LEASES: Final = 1_500
CASES: Final = {"at-once-16": 16, "at-once-256": 256}


async def measure(stub: stubs.LeaseServiceAsyncStub, key: bytes, at_once: int) -> dict[str, Any]:
    """Leases a second with so many requests in work."""
    slots, times = asyncio.Semaphore(at_once), list[float]()

    async def one() -> None:
        async with slots:
            request = pb.LeaseRequest(
                request_id=new_id(),
                worker_id="bench",
                credential=pb.Credential(api_key_hash=key),
                slug=SLUG,
                units_wanted=1,
                min_units=1,
            )
            asked = time.monotonic()
            reply = await stub.Lease(request, metadata=WORKER)
            times.append(time.monotonic() - asked)
            if reply.WhichOneof("outcome") != "grant":
                raise RuntimeError(f"refused: {reply.denial.code}")

    started = time.monotonic()
    await asyncio.gather(*(one() for _ in range(LEASES)))
    wall_s = time.monotonic() - started
    return {"leases_per_s": round(LEASES / wall_s), "p50_ms": round(statistics.median(times) * 1000, 1)}


async def run() -> list[dict[str, Any]]:
    servers = running_servers(repository_root(Path(__file__)))
    databases = Databases(servers["postgres"]["url"])
    try:
        async with AsyncExitStack() as stack:
            engine = await stack.enter_async_context(open_engine(await databases.create(MIGRATIONS)))
            clock = ManualClock(SystemClock().now())
            world = World(engine, clock)
            await world.market(included_units=10**9)
            await world.buy()
            key = await world.key_of(ALICE)
            stop = asyncio.Event()
            batcher = Batcher(engine, POLICY, clock)
            group = await stack.enter_async_context(asyncio.TaskGroup())
            group.create_task(batcher.run(stop))
            group.create_task(
                serve_leases(LeaseServicer(engine, batcher, POLICY, clock), TOKEN, "127.0.0.1", PORT)(stop)
            )
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{PORT}"))
            await channel.channel_ready()
            lines = [
                {
                    "bench": "licensing",
                    "case": case,
                    **await measure(stubs.LeaseServiceStub(channel), key, at_once),
                }
                for case, at_once in CASES.items()
            ]
            written = len(await world.rows("leases"))
            stop.set()
        if written != LEASES * len(CASES):
            raise RuntimeError(f"{written} leases are in the table")
        return lines
    finally:
        await databases.drop_all()


def main() -> int:
    """Prints one JSON line a case."""
    for line in uvloop.run(run()):
        sys.stdout.write(json.dumps(line) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
