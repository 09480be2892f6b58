"""From runs to the figures of a line. Pure: what is claimed of a ratio, and what is not, stands here."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from e2e.load.rounds import Measured, answers

# Above this spread a ratio is printed and not claimed.
STABLE_IQR = 0.10
# Below this many requests a CPU figure is printed and not claimed.
ENOUGH_REQUESTS = 100_000
# Stated in the line: about the list price of one core of a general-purpose cloud machine.
USD_PER_CORE_HOUR = 0.04


def ratio(of: Sequence[float], to: Sequence[float]) -> dict[str, Any]:
    """Median of the paired ratios, their interquartile range, and whether that is narrow enough to claim."""
    pairs = [a / b for a, b in zip(of, to, strict=True)]
    low, high = quartiles(pairs)
    return {
        "ratio": round(statistics.median(pairs), 3),
        "iqr": round(high - low, 3),
        "stable": len(pairs) > 1 and high - low <= STABLE_IQR,
    }


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """First and third quartile, interpolated within the values; of a single value itself twice."""
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def rates(runs: Sequence[Measured]) -> list[float]:
    """Requests a second of each run."""
    return [run.load.rate for run in runs]


def beside_direct(runs: Sequence[Measured], direct: Sequence[Measured]) -> dict[str, Any]:
    """What a target costs beside Triton called directly in the same rounds, and what it uses itself."""
    against = ratio(rates(runs), rates(direct))
    pairs = list(zip(runs, direct, strict=True))
    return {
        "ratio_vs_triton": against["ratio"],
        "iqr": against["iqr"],
        "stable": against["stable"],
        "cpu_us_per_request": a_request(sum(run.own_cpu_s for run in runs), runs),
        "added_p50_us": round(statistics.median(run.load.p50_us - own.load.p50_us for run, own in pairs)),
        "added_p99_ratio": round(
            statistics.median(run.load.p99_us / own.load.p99_us for run, own in pairs), 2
        ),
        "rss_mib": round(max(run.rss_mib for run in runs)),
        "requests": answers(runs),
        "enough_requests": answers(runs) >= ENOUGH_REQUESTS,
        "triton_cpu_us_per_request": a_request(sum(run.parts_cpu_s["triton"] for run in runs), runs),
        "load_tool_cpu_us_per_request": a_request(sum(run.load.cpu_s for run in runs), runs),
    }


def a_request(cpu_s: float, runs: Sequence[Measured]) -> float:
    """Microseconds of CPU for each answered request."""
    return round(cpu_s / answers(runs) * 1e6, 1)


def split(runs: Sequence[Measured]) -> dict[str, float]:
    """Microseconds of CPU for each answered request of the runs, by part of the stack."""
    parts = {part: sum(run.parts_cpu_s.get(part, 0.0) for run in runs) for part in runs[-1].parts_cpu_s}
    return {part: a_request(used, runs) for part, used in parts.items()}


def usd_per_million(cpu_us: float) -> float:
    """Price of the CPU time of a million calls at USD_PER_CORE_HOUR; a core-second a call is a million of them."""
    return round(cpu_us / 3600 * USD_PER_CORE_HOUR, 6)
