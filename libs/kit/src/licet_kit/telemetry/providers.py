"""The process's tracer and meter providers.

Metrics are always collected, for /metrics; spans and metrics leave by OTLP/HTTP when an endpoint is set.
"""

from dataclasses import dataclass

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Tracer
from prometheus_client import CollectorRegistry

from licet_kit.ids import new_id
from licet_kit.telemetry.prometheus import OpenTelemetryCollector

# At shutdown the last spans get this long to leave; a dead collector must not hold the process.
FLUSH_TIMEOUT_MS = 3000


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The providers of one process, and the registry that /metrics renders."""

    tracers: TracerProvider
    meters: MeterProvider
    registry: CollectorRegistry

    def stop(self) -> None:
        """Send what is buffered and release the exporters; blocks up to a few seconds."""
        self.tracers.force_flush(FLUSH_TIMEOUT_MS)
        self.tracers.shutdown()
        self.meters.shutdown(FLUSH_TIMEOUT_MS)


def start_telemetry(service: str, *, endpoint: str | None = None) -> Telemetry:
    """Set the process's providers; `endpoint` is an OTLP/HTTP base URL such as http://collector:4318."""
    resource = Resource.create({"service.name": f"licet-{service}", "service.instance.id": new_id()})
    tracers = TracerProvider(resource=resource)
    local = InMemoryMetricReader()
    readers: list[MetricReader] = [local]
    if endpoint:
        base = endpoint.rstrip("/")
        tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{base}/v1/traces")))
        readers.append(PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{base}/v1/metrics")))
    meters = MeterProvider(metric_readers=readers, resource=resource)
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(meters)
    registry = CollectorRegistry()
    registry.register(OpenTelemetryCollector(local))
    return Telemetry(tracers, meters, registry)


def tracer(name: str) -> Tracer:
    """Return the tracer of a module; usable before `start_telemetry`, and silent without it."""
    return trace.get_tracer(name)


def meter(name: str) -> Meter:
    """Return the meter of a module; usable before `start_telemetry`, and silent without it."""
    return metrics.get_meter(name)
