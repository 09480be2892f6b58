"""OpenTelemetry metrics in Prometheus' form, so that one set of instruments serves /metrics and OTLP."""

import re
from collections.abc import Iterable, Sequence

from opentelemetry.sdk.metrics.export import (
    Gauge,
    Histogram,
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    NumberDataPoint,
    Sum,
)
from opentelemetry.util.types import Attributes
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

_UNITS = {"s": "seconds", "ms": "milliseconds", "By": "bytes"}


class OpenTelemetryCollector(Collector):
    """Renders the current values of a reader at each scrape."""

    def __init__(self, reader: InMemoryMetricReader) -> None:
        self._reader = reader

    def collect(self) -> Iterable[Family]:
        """Yield one family for each instrument that has a value."""
        data = self._reader.get_metrics_data()
        if data is None:
            return
        for resource in data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    yield _family(metric)

    def describe(self) -> Iterable[Family]:
        """Name nothing before the first scrape: instruments come and go."""
        return ()


def _family(metric: Metric) -> Family:
    name = re.sub(r"[^A-Za-z0-9_:]", "_", metric.name)
    unit = _UNITS.get(metric.unit or "")
    if unit and not name.endswith(unit):
        name = f"{name}_{unit}"
    match metric.data:
        case Sum(data_points=points, is_monotonic=True):
            return _numbers(
                CounterMetricFamily(name, metric.description or name, labels=_labels(points)), points
            )
        case Histogram(data_points=histograms):
            return _histograms(name, metric.description or name, histograms)
        case Sum(data_points=points) | Gauge(data_points=points):
            return _numbers(
                GaugeMetricFamily(name, metric.description or name, labels=_labels(points)), points
            )
        case _:
            raise TypeError(f"the instrument {metric.name} has no Prometheus form")


def _labels(points: Sequence[NumberDataPoint | HistogramDataPoint]) -> list[str]:
    return sorted({str(key) for point in points for key in point.attributes or {}})


def _values(attributes: Attributes, labels: Sequence[str]) -> list[str]:
    return [str((attributes or {}).get(label, "")) for label in labels]


def _numbers(family: CounterMetricFamily | GaugeMetricFamily, points: Sequence[NumberDataPoint]) -> Family:
    labels = _labels(points)
    for point in points:
        family.add_metric(_values(point.attributes, labels), point.value)
    return family


def _histograms(name: str, description: str, points: Sequence[HistogramDataPoint]) -> Family:
    labels = _labels(points)
    family = HistogramMetricFamily(name, description, labels=labels)
    for point in points:
        total, buckets = 0, []
        for bound, count in zip([*point.explicit_bounds, float("inf")], point.bucket_counts, strict=True):
            total += count
            buckets.append((str(float(bound)) if bound != float("inf") else "+Inf", float(total)))
        family.add_metric(_values(point.attributes, labels), buckets, point.sum)
    return family
