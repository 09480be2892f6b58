"""What is claimed of the runs of a case."""

from __future__ import annotations

import pytest

from e2e.load import figures
from e2e.load.rounds import Measured
from e2e.load.tool import Load


def run(rate: int, *, p50_us: int = 100, p99_us: int = 200, own_cpu_s: float = 0.0) -> Measured:
    load = Load(rate, 1_000_000, p50_us, p99_us, refused=0, broken=0, cpu_s=0.01)
    return Measured(load, own_cpu_s, {"triton": 0.1, "gateway-1 workers": own_cpu_s}, rss_mib=rate / 10)


def test_a_ratio_is_the_median_of_pairs_and_not_the_ratio_of_medians() -> None:
    # Pairs 1, 0.1 and 0.3; the medians of each side are of different rounds, and would give 0.133.
    assert figures.ratio([100, 400, 900], [100, 4000, 3000])["ratio"] == 0.3


def test_the_spread_is_between_the_quartiles_of_the_pairs() -> None:
    found = figures.ratio([50, 60, 70, 80, 90], [100] * 5)

    assert found == {"ratio": 0.7, "iqr": 0.2, "stable": False}


@pytest.mark.parametrize(("middle", "stable"), [(0.59, True), (0.6, True), (0.61, False)])
def test_a_ratio_is_claimed_up_to_a_spread_of_a_tenth(middle: float, stable: bool) -> None:
    found = figures.ratio([0.5, 0.5, 0.5, middle, middle], [1] * 5)

    assert found["stable"] is stable


def test_a_single_pair_is_no_stable_ratio() -> None:
    assert figures.ratio([1], [2]) == {"ratio": 0.5, "iqr": 0.0, "stable": False}


def test_runs_that_have_no_partner_are_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        figures.ratio([1, 2], [1])


def test_a_target_is_told_beside_the_direct_runs_of_the_same_rounds() -> None:
    direct = [run(1000), run(2000)]
    line = figures.beside_direct(
        [run(500, p50_us=300, p99_us=400, own_cpu_s=0.05), run(1000, p50_us=500, p99_us=800, own_cpu_s=0.1)],
        direct,
    )

    assert (line["ratio_vs_triton"], line["iqr"], line["stable"]) == (0.5, 0.0, True)
    assert line["cpu_us_per_request"] == 100.0  # 0.15 s over 1,500 requests
    assert (line["added_p50_us"], line["added_p99_ratio"]) == (300, 3.0)
    assert line["rss_mib"] == 100
    assert (line["requests"], line["enough_requests"]) == (1500, False)


def test_cpu_is_told_for_each_part() -> None:
    assert figures.split([run(1000, own_cpu_s=0.05), run(1000, own_cpu_s=0.15)]) == {
        "triton": 100.0,
        "gateway-1 workers": 100.0,
    }


def test_a_million_calls_of_3600_us_are_one_core_hour() -> None:
    assert figures.usd_per_million(3600) == figures.USD_PER_CORE_HOUR
