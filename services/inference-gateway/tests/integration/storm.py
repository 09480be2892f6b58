"""Faults at random moments under load: nothing is served without a right, nothing is billed twice or beyond one.

Two workers, real Kafka, two real Tritons; the scripted licensing keeps the grant equation. Redis has no part: only
licensing uses it, and Kafka's absence is in test_faults. LICET_STORM_CALLS and LICET_STORM_SEED make it longer, or the
same again; LICET_STORM_FAULTS names some faults alone.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from licet_gateway.testing.books import Books
from licet_gateway.testing.calls import model_log
from licet_gateway.testing.loaded import LoadedModel, loaded
from licet_gateway.testing.scene import RULES, Scene
from licet_gateway.testing.servers import OwnTriton
from licet_gateway.testing.storm.calls import TOKENS_MAX
from licet_gateway.testing.storm.clients import LONGEST_CALL_S, Clients
from licet_gateway.testing.storm.compare import Comparison
from licet_gateway.testing.storm.faults import LATE_TTL_S, TTL_S, Faults

NewScene = Callable[..., AbstractAsyncContextManager[Scene]]

CALLS = int(os.environ.get("LICET_STORM_CALLS", "800"))
CALLERS = 32
ROUNDS = max(1, CALLS // 10_000)
ACCOUNTS = 12
LIMITS = {"max_input_tokens": 64, "max_output_tokens": TOKENS_MAX}
KINDS = ("counted", "counted-stream")


def report(text: str) -> None:
    """Shown where the test fails, and by `make storm`."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@asynccontextmanager
async def with_two_tritons(
    new_scene: NewScene, servers: dict[str, Any], root: Path, folder: Path
) -> AsyncIterator[tuple[Scene, OwnTriton, dict[str, LoadedModel]]]:
    """A gateway with the shared Triton and one to kill, and the models of the latter, which are those of the former."""
    own, shared = OwnTriton(root, folder / "triton"), servers["triton"]
    await own.start()
    try:
        with ExitStack() as stack:
            here: dict[str, LoadedModel] = {}
            there: dict[str, LoadedModel] = {}
            for kind in KINDS:
                place = {"triton": shared["http"], "repository": Path(shared["repository"])}
                made = stack.enter_context(loaded(kind, **place))
                here[kind] = replace(made, rule=RULES[kind], limits=LIMITS)
                there[kind] = replace(
                    stack.enter_context(
                        loaded(kind, triton=own.http, repository=Path(own.repository), like=made)
                    ),
                    limits=LIMITS,
                )
            settings = {
                "TRITON_URLS": f"{shared['http']},{own.http}",
                "GATEWAY_TRITON_GRPC": f"{shared['grpc']},{own.grpc}",
                "GATEWAY_WORKERS": "2",
                "GATEWAY_CALL_TIMEOUT_S": str(LONGEST_CALL_S),
                "GATEWAY_LEASE_IDLE_S": "0.5",
            }
            async with new_scene(own_models=here, **settings) as scene:
                for kind, model in there.items():
                    await scene.announce.version(model, rule=RULES[kind])
                yield scene, own, there
    finally:
        await own.stop()


def open_accounts(scene: Scene, books: Books, chance: random.Random) -> list[Scene]:
    """Callers with little and with much, lent in small and in larger pieces."""
    accounts = [scene.visitor() for _ in range(ACCOUNTS)]
    for number, account in enumerate(accounts):
        for right in account.rights.values():
            right.free = CALLS // 20 if number == 0 else CALLS * 100
            right.lease_units, right.ttl_ms = chance.choice((20, 200)), int(TTL_S * 1000)
        books.open_for(account)
    return accounts


async def watch(books: Books) -> None:
    """The equation holds at every moment, not only at the end."""
    while True:
        books.read()
        books.faults += [
            f"the grant equation did not hold: {each}" for each in books.sums() if not each.holds
        ]
        await asyncio.sleep(0.5)


@pytest.mark.timeout(1500)
async def test_whatever_fails_no_unit_is_served_without_a_right_or_billed_twice(
    new_scene: NewScene,
    servers: dict[str, Any],
    repository: Path,
    tmp_path: Path,
    eventually: Callable[..., Any],
) -> None:
    seed = int(os.environ.get("LICET_STORM_SEED") or random.SystemRandom().randrange(2**32))
    chance = random.Random(seed)
    report(f"LICET_STORM_SEED={seed}")
    async with with_two_tritons(new_scene, servers, repository, tmp_path) as (scene, own, there):
        books = Books(scene.licensing, scene.topic)
        clients = Clients(scene, open_accounts(scene, books, chance), chance, CALLS)
        faults = Faults(scene, clients, books, own, there, random.Random(seed + 1), report)
        watching = asyncio.create_task(watch(books))
        began_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            group.create_task(clients.run(CALLERS))
            group.create_task(faults.run(ROUNDS, CALLS))
        took_s = time.monotonic() - began_s
        await scene.gateway.stop()
        # What the shutdown had no time for, the next start ships.
        await scene.gateway.start()
        await eventually(lambda: not books.begun(), 30, what="every begun lease's end")
        fenced = 0

        def none_is_lent() -> bool:
            nonlocal fenced
            fenced += books.fence()
            return not books.lent()

        await eventually(none_is_lent, 20, what="every other lease's time limit")
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        seen = model_log(model.folder for model in (*scene.models.values(), *there.values()))
        found = Comparison(
            clients.made, seen, books, faults.killed, faults.revoked_s, LATE_TTL_S, CALLERS + 4
        )
        found.run()
    report(f"{len(clients.made)} calls in {took_s:.1f} s; {len(books.records)} leases, {fenced} fenced")
    report(f"{dict(found.counts)}")
    report("\n".join(found.wrong[:20]))
    assert found.wrong == []
