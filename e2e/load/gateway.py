"""The gateway beside Triton called directly: same request, same connections, alternating, in one run."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from licet_schemas.licet.usage.v1 import usage_pb2
from licet_sdk.chain import PlanOffer
from tritonclient.http import InferenceServerClient, InferInput

from e2e.demo import books, calls, story
from e2e.demo.steps import Notes
from e2e.load import wrk
from e2e.observe import eventually
from e2e.world import World
from infra.local.stack import Stack

SLUG = "bench/identity"
CONNECTIONS = 16
ROUNDS = 9
# CPU a request is an average over this many at least, within so many rounds.
REQUESTS = 100_000
MOST_ROUNDS = 13
SECONDS = 5
# Usage reaches Kafka within a second of its answer; this is generous.
SHIPPED_S = 3.0
UNITS = 10_000_000_000
# Above this spread the ratio is printed and not claimed.
STABLE_IQR = 0.10


@dataclass(frozen=True, slots=True)
class Round:
    """One pair of runs, and the CPU that the gateway's and Triton's processes used in the gateway's."""

    direct: wrk.Load
    gateway: wrk.Load
    gateway_cpu_s: float
    triton_cpu_s: float


def run(stack: Stack, world: World, notes: Notes) -> dict[str, Any]:
    """The case `http-1k-c16`: licensing, metering, log, receipts and telemetry on, and read back afterwards."""
    digest = _publish(world, notes)
    direct, gateway = _targets(world, notes, digest)
    for target in (direct, gateway):
        wrk.run(target, connections=CONNECTIONS, seconds=SECONDS)
    before = _settled(world, notes)
    rounds: list[Round] = []
    while len(rounds) < ROUNDS or (_requests(rounds) < REQUESTS and len(rounds) < MOST_ROUNDS):
        rounds.append(_round(stack, direct, gateway, len(rounds)))
    answered = _requests(rounds)
    records = eventually(
        lambda: _enough(_recorded(world, notes) - before, answered, len(rounds)),
        "every answer is in the usage log",
        60,
    )
    return {
        "bench": "gateway",
        "case": "http-1k-c16",
        **_figures(rounds),
        "answers": answered,
        "records": records,
    }


def _publish(world: World, notes: Notes) -> str:
    folder = Path(world.endpoints["chains_file"]).parent / "bench-identity"
    command = [sys.executable, "-m", "examples.models.bench_identity.build", "--out", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    publisher = world.client("publisher")
    digest, _ = publisher.vault.upload(folder)
    asset_id, _ = publisher.chain.register_asset(SLUG)
    publisher.chain.publish_version(asset_id, digest, f"{world.config.vault}/v1/manifests/{digest}")
    offer = PlanOffer(
        price=1,
        period_s=86_400,
        included_units=UNITS,
        optimistic_units=UNITS,
        unit_price=0,
        metering_rule="request",
        requests_per_s=1_000_000,
        server=world.actor("operator").address,
        terms_digest=books.digest_of(story.TERMS),
    )
    plan, _ = publisher.chain.create_plan(asset_id, offer)
    books.fund(world, world.actor("buyer").address, story.FUNDS)
    world.client("buyer").chain.buy(plan)
    calls.make_key(world, notes, "buyer")
    notes["bench_asset"] = asset_id
    return digest


def _targets(world: World, notes: Notes, digest: str) -> tuple[wrk.Target, wrk.Target]:
    tensor = InferInput("INPUT0", [1, 256], "FP32")
    tensor.set_data_from_numpy(np.linspace(0, 1, 256, dtype=np.float32).reshape(1, 256))
    body, json_bytes = InferenceServerClient.generate_request_body([tensor])
    path = Path(world.endpoints["chains_file"]).parent / "bench-1k.body"
    path.write_bytes(bytes(body))
    name = SLUG.replace("/", ".")
    direct = f"{world.endpoints['triton']['http']}/v2/models/{name}-{digest[2:18]}/infer"
    gateway = f"{world.config.gateway[0]}/v2/models/{name}/infer"
    key = f"Bearer {notes['buyer_key']}"
    return wrk.Target(direct, path, int(json_bytes)), wrk.Target(gateway, path, int(json_bytes), key)


def _round(stack: Stack, direct: wrk.Target, gateway: wrk.Target, number: int) -> Round:
    """A B, then B A, and so on, so that a drift of the machine falls on both."""
    loads: dict[str, wrk.Load] = {}
    used: dict[str, float] = {}
    for name in ("direct", "gateway") if number % 2 == 0 else ("gateway", "direct"):
        before = {part: _cpu_s(stack, part) for part in ("gateway-1", "triton")}
        target = direct if name == "direct" else gateway
        loads[name] = wrk.run(target, connections=CONNECTIONS, seconds=SECONDS)
        if name == "gateway":
            used = {part: _cpu_s(stack, part) - cpu_s for part, cpu_s in before.items()}
    return Round(loads["direct"], loads["gateway"], used["gateway-1"], used["triton"])


def _requests(rounds: list[Round]) -> int:
    return sum(r.gateway.requests for r in rounds)


def _cpu_s(stack: Stack, name: str) -> float:
    """User and system time of a part's processes."""
    part = next(p for p in stack.status() if p.name == name)
    root = psutil.Process(part.pid)
    return float(
        sum(p.cpu_times().user + p.cpu_times().system for p in [root, *root.children(recursive=True)])
    )


def _figures(rounds: list[Round]) -> dict[str, Any]:
    ratios = [r.gateway.rate / r.direct.rate for r in rounds]
    low, median, high = statistics.quantiles(ratios, n=4)
    requests = _requests(rounds)
    return {
        "ratio_vs_triton": round(median, 3),
        "iqr": round(high - low, 3),
        "stable": high - low <= STABLE_IQR,
        "cpu_us_per_request": round(sum(r.gateway_cpu_s for r in rounds) / requests * 1e6, 1),
        "triton_cpu_us_per_request": round(sum(r.triton_cpu_s for r in rounds) / requests * 1e6, 1),
        "load_tool_cpu_us_per_request": round(sum(r.gateway.cpu_s for r in rounds) / requests * 1e6, 1),
        "added_p50_us": round(statistics.median(r.gateway.p50_us - r.direct.p50_us for r in rounds)),
        "direct_rps": round(statistics.median(r.direct.rate for r in rounds)),
        "rounds": len(rounds),
    }


def _recorded(world: World, notes: Notes) -> int:
    """Calls of the benchmark's model in the usage log."""
    records = world.topic("usage.recorded", usage_pb2.UsageRecorded)
    return len({r.request_id for r in records if r.asset_id == notes["bench_asset"] and r.units})


def _settled(world: World, notes: Notes) -> int:
    """Records once no more come: those of the warm-up are not to be taken for those of the rounds."""
    count = -1
    while (now := _recorded(world, notes)) != count:
        count = now
        time.sleep(SHIPPED_S)
    return count


def _enough(records: int, answered: int, rounds: int) -> int:
    """Records once they cover all answers. wrk drops up to one answer a connection when its time is over."""
    assert answered <= records <= answered + rounds * CONNECTIONS, f"{records} records of {answered} answers"
    return records
