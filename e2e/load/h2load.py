"""h2load: gRPC, and HTTP/1.1 at a given rate, whose latencies it writes down one by one."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from e2e.load import tool
from e2e.load.tool import Load, Target

THREADS = 1
GRPC = {"content-type": "application/grpc", "te": "trailers"}
_REQUESTS = re.compile(r"^requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", re.M)
_STATUS = re.compile(r"^status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", re.M)
_DATA = re.compile(r"^traffic: .*\((\d+)\) data", re.M)


def run(target: Target, *, connections: int, seconds: int, rate: float = 0) -> Load:
    """One run over HTTP/1.1; raises AssertionError on any refused request or broken connection."""
    return _run(target, ["--h1"], connections, seconds, rate)


def run_grpc(target: Target, *, connections: int, seconds: int, rate: float = 0) -> Load:
    """One run of unary calls, one at a time on each connection; the body is a framed message.

    h2load reads no grpc-status, but a refusal has no message: the answers have to be as long as they should.
    """
    return _run(target, [], connections, seconds, rate)


def _run(target: Target, options: list[str], connections: int, seconds: int, rate: float) -> Load:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "requests.tsv"
        headers = [text for name, value in target.headers.items() for text in ("-H", f"{name}: {value}")]
        command = [
            *(tool.find("h2load"), *options, f"-t{THREADS}", f"-c{connections}", "-m1", f"-D{seconds}"),
            *([f"--rps={rate / connections:.3f}"] if rate else []),
            *("-d", str(target.body), f"--log-file={log}", *headers, target.url),
        ]
        told, cpu_s = tool.output(command)
        return parse(told, log.read_text(), cpu_s, target.answer_bytes).flawless(target)


def parse(told: str, log: str, cpu_s: float, least_bytes: int = 1) -> Load:
    """h2load's summary and its log of start (µs since 1970), status and duration (µs) of each request.

    The rate is taken between the first start and the last end. A run whose answers are shorter than
    `least_bytes` on average counts as refused as a whole.
    """
    rows = [(int(start), status, int(took)) for start, status, took in map(str.split, log.splitlines())]
    answered = sorted(took for _, status, took in rows if status == "200")
    succeeded, failed, errored, timeout = _numbers(_REQUESTS, told)
    good, *others = _numbers(_STATUS, told)
    (data,) = _numbers(_DATA, told)
    # A status other than 2xx fails its request; the end of the time cuts what has a status already.
    refused = max(sum(others), failed)
    if data < least_bytes * succeeded:
        refused += good
    ends = max((start + took for start, _, took in rows), default=1)
    return Load(
        requests=len(answered),
        duration_us=ends - min((start for start, _, _ in rows), default=0),
        p50_us=percentile(answered, 50),
        p99_us=percentile(answered, 99),
        refused=refused,
        broken=errored + timeout,
        cpu_s=cpu_s,
    )


def percentile(ordered: list[int], part: int) -> int:
    """The smallest value that `part` percent of the values do not exceed; 0 of none."""
    return ordered[max(0, -(-len(ordered) * part // 100) - 1)] if ordered else 0


def _numbers(pattern: re.Pattern[str], told: str) -> list[int]:
    found = pattern.search(told)
    assert found, f"h2load printed no line like {pattern.pattern}: {told[-500:]}"
    return [int(number) for number in found.groups()]
