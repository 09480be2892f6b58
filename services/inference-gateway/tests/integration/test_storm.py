"""Faults at random moments under load: nothing is served without a right, nothing is billed twice or beyond one.

Two workers, real Kafka and Triton; the scripted licensing keeps the grant equation. Redis has no part: only licensing
uses it. LICET_STORM_CALLS and LICET_STORM_SEED make it longer, or the same again.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from licet_gateway.testing import bodies
from licet_gateway.testing.books import Books
from licet_gateway.testing.loaded import LoadedModel, loaded
from licet_gateway.testing.scene import Scene
from licet_gateway.testing.wire import Wire, request, wire
from licet_kit.testing.plugin import Eventually
from licet_schemas.licet.licensing.v1 import licensing_pb2 as pb
from licet_schemas.licet.usage.v1.usage_pb2 import UsageRecorded

NewScene = Callable[..., AbstractAsyncContextManager[Scene]]

CALLS = int(os.environ.get("LICET_STORM_CALLS", "1000"))
CLIENTS = 16
ROUNDS = max(1, CALLS // 5000)
ACCOUNTS = 12 + 2 * ROUNDS
ROWS_MAX = 4
TTL_S = 2.0
LONGEST_CALL_S = 3.0
# Faults are spread over the calls; a fault may take longer than its share.
FAULTS = (
    "kill worker",
    "kill gateway",
    "pause worker",
    "cut licensing",
    "silence licensing",
    "revoke",
    "revoke",
)
REVOKED = pb.Denial(code="license_revoked", message="revoked", remedy="renew", decision_id="decision-2")


TEMPLATES = {
    rows: bodies.body("X", np.zeros((rows, 4), dtype=np.float32), binary=True)
    for rows in range(1, ROWS_MAX + 1)
}


def numbered(number: int, rows: int) -> bytes:
    """A request whose first value says which call it is; the tensor is its end."""
    data = TEMPLATES[rows].data
    tensor = len(data) - rows * 16
    return data[:tensor] + struct.pack("<f", number) + data[tensor + 4 :]


@dataclass
class Storm:
    """What happened, as the clients and the fault injector saw it."""

    scene: Scene
    books: Books
    accounts: list[Scene]
    model: LoadedModel
    chance: random.Random
    number: int = 0
    over: bool = False
    # By request id: the caller's number of the call, its rows.
    answered: dict[str, tuple[int, int]] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    kills: int = 0
    faults: list[str] = field(default_factory=list)
    # By the id of an account's right: when its revocation had been told.
    revoked_s: dict[int, float] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def count(self, what: str) -> None:
        self.statuses[what] = self.statuses.get(what, 0) + 1

    async def client(self) -> None:
        """Calls one after another until enough were made and every fault was met by load."""
        while self.number < CALLS or not self.over:
            try:
                async with wire(self.scene.gateway.port) as connection:
                    while await self._call(connection):
                        pass
            except ConnectionRefusedError:
                # Nobody is there to call.
                await asyncio.sleep(0.05)
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                self.count(type(error).__name__)

    async def _call(self, connection: Wire) -> bool:
        """One call; whether the connection serves another."""
        self.number += 1
        number, rows = self.number, self.chance.randint(1, ROWS_MAX)
        account = self.chance.choice(self.accounts)
        path = f"/v2/models/{self.model.public_name}/infer"
        body = numbered(number, rows)
        sent = request("POST", path, body, TEMPLATES[rows].headers | account.key.header)
        begun_s, fate = time.monotonic(), self.chance.random()
        async with asyncio.timeout(LONGEST_CALL_S + 1):
            if fate < 0.02:
                await connection.send(sent[: len(sent) * 2 // 3])
                self.count("vanished in its body")
                return False
            await connection.send(sent)
            if fate < 0.04:
                self.count("vanished before its answer")
                return False
            response = await connection.receive()
        self.count(str(response.status))
        if response.status == 200:
            self._served(response.headers["x-licet-request-id"], number, rows, account, begun_s)
        return response.headers.get("connection") != "close" and self.number < CALLS

    def _served(self, name: str, number: int, rows: int, account: Scene, begun_s: float) -> None:
        self.answered[name] = (number, rows)
        told_s = self.revoked_s.get(id(account.rights["noted"]))
        if told_s is not None and begun_s > told_s + TTL_S:
            self.violations.append(f"call {number} was served {begun_s - told_s:.3f} s after the revocation")

    async def inject(self, eventually: Eventually) -> None:
        """Each fault once in every round, in a random order, at random moments."""
        plan = [self.chance.sample(FAULTS, len(FAULTS)) for _ in range(ROUNDS)]
        faults = [fault for each in plan for fault in each]
        moments = sorted(self.chance.randrange(CALLS) for _ in faults)
        for moment, fault in zip(moments, faults, strict=True):
            await eventually(lambda due=moment: self.number >= due, 600)
            self.faults.append(f"{fault} at call {self.number}")
            await self._apply(fault, eventually)
        self.over = True

    async def _apply(self, fault: str, eventually: Eventually) -> None:
        gateway, licensing = self.scene.gateway, self.scene.licensing
        match fault:
            case "kill worker":
                self.kills += 1
                os.kill(self.chance.choice(gateway.workers()), signal.SIGKILL)
                await eventually(gateway.ready, 30)
            case "kill gateway":
                self.kills += len(gateway.workers())
                gateway.kill()
                if gateway.process is not None:
                    await gateway.process.wait()
                await gateway.start()
            case "pause worker":
                worker = self.chance.choice(gateway.workers())
                os.kill(worker, signal.SIGSTOP)
                until_s = time.monotonic() + TTL_S + 0.5
                await eventually(lambda: time.monotonic() > until_s, 10)
                os.kill(worker, signal.SIGCONT)
                await eventually(gateway.ready, 30)
            case "cut licensing":
                licensing.break_streams()
            case "silence licensing":
                licensing.answering.clear()
                until_s = time.monotonic() + 1
                await eventually(lambda: time.monotonic() > until_s, 10)
                licensing.answering.set()
            case _:
                await self._revoke()

    async def _revoke(self) -> None:
        """An answer that was decided before is told after it."""
        live = [
            each.rights["noted"]
            for each in self.accounts
            if id(each.rights["noted"]) not in self.revoked_s
        ]
        right = self.chance.choice(live)
        self.scene.licensing.answering.clear()
        right.denial = REVOKED
        right.generation += 1
        await self.scene.announce.revocation(right.grant_id, right.generation)
        self.scene.licensing.answering.set()
        self.revoked_s[id(right)] = time.monotonic()


@pytest.fixture(scope="module")
def counted(servers: dict[str, Any]) -> Iterator[LoadedModel]:
    repository = Path(servers["triton"]["repository"])
    with loaded("noted", triton=servers["triton"]["http"], repository=repository) as model:
        yield model


def served_by(model: LoadedModel) -> dict[int, int]:
    """Rows of each call, by its number, as the model noted them."""
    lines = (model.folder / "1" / "served").read_text().splitlines()
    return {int(number): int(rows) for number, rows in (line.split() for line in lines)}


def check(storm: Storm) -> list[str]:
    """The promises that were broken."""
    books = storm.books
    records = {r.request_id: r for each in books.records.values() for r in each.values()}
    served = served_by(storm.model)
    wrong = storm.violations + books.faults + check_answers(storm, records, served)
    free = [name for name in storm.answered if name in records and not records[name].units]
    if len({records[name].worker_id for name in free}) > storm.kills:
        wrong.append(f"answers of workers that nobody killed are free: {free}")
    billed, given = sum(record.units for record in records.values()), sum(served.values())
    if billed > given:
        wrong.append(f"billed {billed}, served {given}")
    for account in storm.accounts:
        total = books.sum_of(account.rights["noted"])
        if not total.holds:
            wrong.append(f"the grant equation does not hold: {total}")
    report(f"billed {billed}, served {given}; {len(free)} answers of killed workers are free")
    return wrong


def check_answers(storm: Storm, records: dict[str, UsageRecorded], served: dict[int, int]) -> list[str]:
    """Every whole answer was served by the model, and has one record with its units, or none of a killed worker."""
    wrong = []
    for name, (number, rows) in storm.answered.items():
        if name not in records:
            wrong.append(f"{name} was answered and has no record")
        elif records[name].units not in (rows, 0):
            wrong.append(f"{name} of {rows} rows is billed {records[name].units}")
        if served.get(number) != rows:
            wrong.append(f"call {number} was answered and not served")
    return wrong


def report(text: str) -> None:
    """Shown where the test fails, and by `make storm`."""
    sys.stdout.write(f"{text}\n")


@pytest.mark.timeout(900)
async def test_whatever_fails_no_unit_is_served_without_a_right_or_billed_twice(
    new_scene: NewScene, counted: LoadedModel, eventually: Eventually
) -> None:
    seed = int(os.environ.get("LICET_STORM_SEED") or random.SystemRandom().randrange(2**32))
    chance = random.Random(seed)
    report(f"LICET_STORM_SEED={seed}")
    limit = str(LONGEST_CALL_S)
    settings = {"GATEWAY_WORKERS": "2", "GATEWAY_CALL_TIMEOUT_S": limit, "GATEWAY_LEASE_IDLE_S": "0.5"}
    async with new_scene(own_models={"noted": counted}, **settings) as scene:
        books = Books(scene.licensing, scene.topic)
        accounts = [scene.visitor() for _ in range(ACCOUNTS)]
        for account in accounts:
            right = account.rights["noted"]
            right.free = chance.choice((CALLS // 20, CALLS, CALLS * 10))
            right.lease_units, right.ttl_ms = chance.choice((5, 40)), int(TTL_S * 1000)
            books.open_for(right)
        storm = Storm(scene, books, accounts, counted, chance)
        injecting = asyncio.create_task(storm.inject(eventually))
        reading = asyncio.create_task(read_on(books, accounts, storm))
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(storm.client())
        await injecting
        await scene.gateway.stop()
        # What the shutdown had no time for, the next start ships.
        await scene.gateway.start()
        await eventually(
            lambda: not books.begun() and len(scene.topic.records) > 0, 30, what="every lease's end"
        )
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
        wrong = check(storm)
    report(f"calls {storm.number}, kills {storm.kills}, {storm.statuses}, {storm.faults}")
    assert wrong == []


async def read_on(books: Books, accounts: list[Scene], storm: Storm) -> None:
    """The equation holds at every moment, not only at the end."""
    while True:
        books.read()
        for account in accounts:
            total = books.sum_of(account.rights["noted"])
            if not total.holds:
                storm.violations.append(f"the grant equation did not hold: {total}")
        await asyncio.sleep(0.05)
