"""W3C trace context (`traceparent`, `tracestate`) in and out of any carrier of string pairs."""

from collections.abc import Mapping, MutableMapping

from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR = TraceContextTextMapPropagator()


def inject(carrier: MutableMapping[str, str]) -> None:
    """Write the current span into headers, gRPC metadata or a row; nothing happens outside of a span."""
    _PROPAGATOR.inject(carrier)


def extract(carrier: Mapping[str, str]) -> Context:
    """Read the remote span of a carrier, as the parent for `tracer(...).start_as_current_span(context=...)`."""
    return _PROPAGATOR.extract(carrier)
