"""Traces and metrics on the OpenTelemetry SDK, and the trace context that crosses every hop."""

from licet_kit.telemetry.propagation import extract, inject
from licet_kit.telemetry.providers import Telemetry, meter, start_telemetry, tracer

__all__ = ["Telemetry", "extract", "inject", "meter", "start_telemetry", "tracer"]
