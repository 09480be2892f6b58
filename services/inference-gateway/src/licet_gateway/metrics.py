"""The workers' figures as Prometheus metrics. Labels are few and fixed: never an account, a model or a key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from licet_gateway.dataplane.counters import DURATION_BOUNDS_S, CounterReader
from licet_gateway.shipping.shipper import Shipper
from licet_gateway.supervisor import WorkerSlot


class GatewayCollector(Collector):
    """Reads every worker's counters at each scrape. A worker's successor starts from zero, as after any restart."""

    def __init__(self, slots: Sequence[WorkerSlot], shipper: Shipper) -> None:
        self._slots = slots
        self._shipper = shipper

    def collect(self) -> Iterable[Metric]:
        workers = [(str(i), slot.counters) for i, slot in enumerate(self._slots)]
        living = [(label, counters) for label, counters in workers if counters is not None]
        yield from _totals(living)
        yield _labelled("licet_gateway_calls", "Finished calls by outcome", "outcome", living)
        yield _labelled("licet_gateway_refusals", "Refused calls by code", "code", living)
        yield _durations(living)
        yield from self._process()

    def _process(self) -> Iterable[Metric]:
        ready = GaugeMetricFamily(
            "licet_gateway_worker_ready", "Whether the worker admits calls", labels=["worker"]
        )
        for number, slot in enumerate(self._slots):
            ready.add_metric([str(number)], slot.ready)
        yield ready
        restarts = sum(slot.restarts for slot in self._slots)
        yield CounterMetricFamily("licet_gateway_worker_restarts", "Workers that died", value=restarts)
        yield CounterMetricFamily(
            "licet_gateway_records_shipped",
            "Usage records acknowledged by Kafka",
            value=self._shipper.shipped,
        )
        yield GaugeMetricFamily(
            "licet_gateway_log_unshipped_bytes",
            "Usage log that is not in Kafka",
            value=self._shipper.unshipped_bytes,
        )
        yield GaugeMetricFamily(
            "licet_gateway_log_aside_bytes",
            "Usage that cannot be shipped and waits for the operator",
            value=self._shipper.aside_bytes,
        )


def _totals(living: Sequence[tuple[str, CounterReader]]) -> Iterable[Metric]:
    texts = {
        "units": "Metered units",
        "bytes_in": "Request body bytes",
        "bytes_out": "Response body bytes",
        "leases_revoked": "Leases killed by a revocation",
        "upstream_ejections": "Inference servers left out for a while",
        "upstream_retries": "Requests sent to an inference server once more",
        "calls_shed": "Calls that waited too long for an inference server, or would have",
        "calls_held": "Calls that waited for their version to be ready",
    }
    for name, text in texts.items():
        family = CounterMetricFamily(f"licet_gateway_{name}", text, labels=["worker"])
        for label, counters in living:
            family.add_metric([label], counters.totals()[name])
        yield family
    for name, text in (("connections", "Open client connections"), ("running", "Calls in flight")):
        gauge = GaugeMetricFamily(f"licet_gateway_{name}", text, labels=["worker"])
        for label, counters in living:
            gauge.add_metric([label], getattr(counters, name))
        yield gauge


def _labelled(name: str, text: str, label: str, living: Sequence[tuple[str, CounterReader]]) -> Metric:
    family = CounterMetricFamily(name, text, labels=["worker", label])
    for worker, counters in living:
        for value, count in counters.outcomes() if label == "outcome" else counters.refusals():
            family.add_metric([worker, value], count)
    return family


def _durations(living: Sequence[tuple[str, CounterReader]]) -> Metric:
    family = HistogramMetricFamily(
        "licet_gateway_call_duration_seconds", "From the open entry to the record", labels=["worker"]
    )
    for worker, counters in living:
        counts, total = counters.durations()
        buckets, below = [], 0
        for bound, count in zip([*map(str, DURATION_BOUNDS_S), "+Inf"], counts, strict=True):
            below += count
            buckets.append((bound, float(below)))
        family.add_metric([worker], buckets, total)
    return family
