"""Benchmark `http-1k-c16`: KServe HTTP, 1 KiB of tensor, 16 connections, through the gateway and past it.

Rounds alternate direct-gateway, gateway-direct (A B B A), after a discarded warm-up; the figure is the median of the
paired ratios. Everything is on: authentication, leases, metering, log, receipts, telemetry; and it is read back:
the usage records of the rounds must be the calls that the gateway answered with 2xx, or the case fails. wrk gives up
what is in flight when a round ends, so its own count may be lower, by at most its connections in each round.

    python services/inference-gateway/bench/http_1k_c16.py --direct URL --gateway URL --admin URL --key-file FILE \\
        --pinned owner.model-<16 hex> --model owner.model --kafka HOST:PORT --gateway-pid PID
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.http as triton
from aiokafka import AIOKafkaConsumer, TopicPartition
from licet_schemas.licet.usage.v1.usage_pb2 import OUTCOME_OK, UsageRecorded

CONNECTIONS = 16
ROUNDS = 9
SECONDS = 5
WARM_UP_S = 3
UNSTABLE_IQR = 0.10
# Records reach Kafka within a second; a slow machine gets more.
RECORDS_DEADLINE_S = 60.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

_P50 = re.compile(r"^\s+50%\s+([0-9.]+)(us|ms|s)", re.MULTILINE)
_UNIT_US = {"us": 1.0, "ms": 1e3, "s": 1e6}
_REQUESTS = re.compile(r"(\d+) requests in")
_RATE = re.compile(r"Requests/sec:\s+([0-9.]+)")
_FAILED = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_ANSWERED = re.compile(r'^licet_gateway_calls_total\{outcome="ok",[^}]*\} ([0-9.e+]+)$', re.MULTILINE)

_SCRIPT = """
local file = io.open({body}, "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
{headers}
"""


class CannotMeasure(Exception):
    """What is missing, in one sentence."""


@dataclass(frozen=True, slots=True)
class Target:
    """The running system that is measured. URLs have no path."""

    direct_url: str
    gateway_url: str
    admin_url: str
    # The model's name in Triton, and the one that callers use.
    pinned: str
    model: str
    key: str
    kafka: str
    topic_prefix: str
    # The supervisor; its workers are found below it.
    gateway_pid: int
    # Shown beside ours; 0: not shown.
    triton_pid: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """One wrk run."""

    requests: int
    failed: int
    rps: float
    p50_us: float


@dataclass(frozen=True, slots=True)
class Pair:
    """All rounds of two URLs."""

    direct: list[Load]
    gateway: list[Load]

    @property
    def ratios(self) -> list[float]:
        """Gateway's rate over direct's, for each round."""
        return [g.rps / d.rps for d, g in zip(self.direct, self.gateway, strict=True)]


def run(target: Target, *, rounds: int = ROUNDS, seconds: int = SECONDS) -> dict[str, Any]:
    """Measures, reads the records back, and returns the line. Raises CannotMeasure."""
    return asyncio.run(_run(target, rounds, seconds))


def pair(
    direct_url: str,
    gateway_url: str,
    *,
    headers: Mapping[str, str],
    body: bytes,
    rounds: int = ROUNDS,
    seconds: int = SECONDS,
) -> Pair:
    """Loads two URLs in turn with the same POST. The first run of each warms up and is discarded."""
    with tempfile.TemporaryDirectory() as folder:
        script = _script(Path(folder), headers, body)
        for url in (direct_url, gateway_url):
            load(url, script, WARM_UP_S)
        measured = Pair([], [])
        for number in range(rounds):
            order = [(direct_url, measured.direct), (gateway_url, measured.gateway)]
            for url, loads in order if number % 2 == 0 else reversed(order):
                loads.append(load(url, script, seconds))
        return measured


def load(url: str, script: Path, seconds: int) -> Load:
    """One run of wrk. Raises CannotMeasure where wrk is missing or reaches nothing."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise CannotMeasure("wrk is missing: install it with `apt-get install wrk`")
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script), url]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 30)
    requests, rate, p50 = (pattern.search(done.stdout) for pattern in (_REQUESTS, _RATE, _P50))
    if requests is None or rate is None or p50 is None:
        raise CannotMeasure(f"wrk on {url}: {(done.stdout + done.stderr).strip()}")
    failed = _FAILED.search(done.stdout)
    return Load(
        requests=int(requests.group(1)),
        failed=int(failed.group(1)) if failed else 0,
        rps=float(rate.group(1)),
        p50_us=float(p50.group(1)) * _UNIT_US[p50.group(2)],
    )


def request_of(key: str) -> tuple[bytes, dict[str, str]]:
    """One row of 256 floats for `bench.identity` in binary tensors, and the headers of its call."""
    tensor = triton.InferInput("INPUT0", [1, 256], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 256), dtype=np.float32), binary_data=True)
    body, header_length = triton.InferenceServerClient.generate_request_body([tensor])
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(header_length),
        "Authorization": f"Bearer {key}",
    }
    return body, headers


def cpu_s(pid: int) -> float:
    """User and system time of a process and of its living and ended children, threads included."""
    if not pid:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(int(field) for field in fields[11:15]) / TICKS_PER_S
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(cpu_s(int(child)) for child in children)


async def _run(target: Target, rounds: int, seconds: int) -> dict[str, Any]:
    body, headers = request_of(target.key)
    starts = await _offsets(target)
    answered_before = _answered(target)
    cpu_before, triton_before = cpu_s(target.gateway_pid), cpu_s(target.triton_pid)
    measured = await asyncio.to_thread(
        pair,
        f"{target.direct_url}/v2/models/{target.pinned}/infer",
        f"{target.gateway_url}/v2/models/{target.model}/infer",
        headers=headers,
        body=body,
        rounds=rounds,
        seconds=seconds,
    )
    answered = await _answers_since(target, answered_before)
    records = await _count_records(target, starts, answered)
    cpu, triton_cpu = cpu_s(target.gateway_pid) - cpu_before, cpu_s(target.triton_pid) - triton_before
    return {
        **_figures(measured),
        "cpu_us_per_request": round(cpu / max(answered, 1) * 1e6, 1),
        "triton_cpu_s": round(triton_cpu, 1),
        "gateway_cpu_s": round(cpu, 1),
        "answered": answered,
        "records": records,
        "records_equal": records == answered,
        **_machine(),
    }


def _figures(measured: Pair) -> dict[str, Any]:
    ratios = measured.ratios
    quarters = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3
    iqr = quarters[2] - quarters[0]
    added = [g.p50_us - d.p50_us for d, g in zip(measured.direct, measured.gateway, strict=True)]
    return {
        "bench": "gateway",
        "case": "http-1k-c16",
        "ratio_vs_triton": round(statistics.median(ratios), 3),
        "iqr": round(iqr, 3),
        "stable": iqr <= UNSTABLE_IQR,
        "added_p50_us": round(statistics.median(added)),
        "direct_rps": round(statistics.median(each.rps for each in measured.direct)),
        "gateway_rps": round(statistics.median(each.rps for each in measured.gateway)),
        "rounds": len(ratios),
        "failed": sum(each.failed for each in [*measured.direct, *measured.gateway]),
        "responses": sum(each.requests for each in measured.gateway),
    }


def _machine() -> dict[str, Any]:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return {
        "machine": names[0].partition(":")[2].strip() if names else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "commit": commit.stdout.strip(),
    }


def _answered(target: Target) -> int:
    """Calls that the gateway has answered with 2xx, by its own metrics."""
    with urllib.request.urlopen(f"{target.admin_url}/metrics", timeout=5) as response:  # noqa: S310 - our own
        return int(sum(float(value) for value in _ANSWERED.findall(response.read().decode())))


async def _answers_since(target: Target, before: int) -> int:
    """Answers of the rounds, once the last of them are counted."""
    last = -1
    while (now := await asyncio.to_thread(_answered, target)) != last:
        last = now
        await asyncio.sleep(1)
    return last - before


async def _offsets(target: Target) -> dict[TopicPartition, int]:
    async with _Consumer(target) as consumer:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(await _partitions(consumer, target))
        return ends


async def _count_records(target: Target, starts: dict[TopicPartition, int], expected: int) -> int:
    """Distinct records of answered calls behind `starts`; waits until there are as many as expected."""
    found: set[str] = set()
    until = time.monotonic() + RECORDS_DEADLINE_S
    async with _Consumer(target) as consumer:
        consumer.assign(list(starts))
        for partition, offset in starts.items():
            consumer.seek(partition, offset)
        while time.monotonic() < until:
            batches = await consumer.getmany(timeout_ms=500)
            for record in (record for batch in batches.values() for record in batch):
                usage = UsageRecorded.FromString(record.value)
                if usage.outcome == OUTCOME_OK:
                    found.add(usage.request_id)
            if not batches and len(found) >= expected:
                break
    return len(found)


async def _partitions(consumer: AIOKafkaConsumer, target: Target) -> list[TopicPartition]:
    name = f"{target.topic_prefix}usage.recorded"
    cluster = await consumer._client.fetch_all_metadata()
    return [TopicPartition(name, number) for number in sorted(cluster.partitions_for_topic(name) or ())]


class _Consumer:
    """A consumer without a group."""

    def __init__(self, target: Target) -> None:
        self._consumer = AIOKafkaConsumer(bootstrap_servers=target.kafka, enable_auto_commit=False)

    async def __aenter__(self) -> AIOKafkaConsumer:
        await self._consumer.start()
        return self._consumer

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()


def _script(folder: Path, headers: Mapping[str, str], body: bytes) -> Path:
    file = folder / "body"
    file.write_bytes(body)
    lines = "\n".join(
        f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items()
    )
    script = folder / "post.lua"
    script.write_text(_SCRIPT.format(body=json.dumps(str(file)), headers=lines))
    return script


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("direct", "gateway", "admin", "pinned", "model", "key-file", "kafka"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--topic-prefix", default="")
    parser.add_argument("--gateway-pid", type=int, required=True)
    parser.add_argument("--triton-pid", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    return parser.parse_args()


def main() -> int:
    """Prints one JSON line; exit status 1 where the records are not the answers, 2 where nothing was measured."""
    given = _arguments()
    target = Target(
        direct_url=given.direct,
        gateway_url=given.gateway,
        admin_url=given.admin,
        pinned=given.pinned,
        model=given.model,
        key=Path(given.key_file).read_text().strip(),
        kafka=given.kafka,
        topic_prefix=given.topic_prefix,
        gateway_pid=given.gateway_pid,
        triton_pid=given.triton_pid,
    )
    try:
        line = run(target, rounds=given.rounds, seconds=given.seconds)
    except CannotMeasure as error:
        print(error, file=sys.stderr)  # noqa: T201 - the command's answer
        return 2
    print(json.dumps(line))  # noqa: T201 - the command's answer
    return 0 if line["records_equal"] and not line["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
