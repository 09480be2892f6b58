"""Spans of sampled calls. A call that is not sampled costs one look at its traceparent and one random number."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Final

from licet_kit.telemetry import extract, tracer
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from licet_gateway.domain import CallRecord, LeaseTerms, Outcome, request_id

_TRACEPARENT: Final = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-([0-9a-f]{2})")
_SAMPLED: Final = 1

SPAN_NAME: Final = "licet.infer"
MODEL: Final = "licet.model"
DECISION: Final = "licet.decision_id"
LEASE: Final = "licet.lease_id"
RECEIPT: Final = "licet.receipt_id"
UNITS: Final = "licet.units"
OUTCOME: Final = "licet.outcome"


class CallTracer:
    """Decides which calls get a span: those whose caller sampled them, and `ratio` of those without a trace."""

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self._tracer = tracer(__name__)

    def start(self, fields: Mapping[bytes, bytes], slug: str) -> Span | None:
        """The span of a call, or None where it is not sampled."""
        parent = fields.get(b"traceparent")
        if parent is None:
            if random.random() >= self._ratio:  # noqa: S311 - sampling, not secrecy
                return None
            return self._tracer.start_span(SPAN_NAME, kind=SpanKind.SERVER, attributes={MODEL: slug})
        match = _TRACEPARENT.fullmatch(parent)
        if match is None or not int(match.group(1), 16) & _SAMPLED:
            return None
        context = extract({"traceparent": parent.decode()})
        return self._tracer.start_span(SPAN_NAME, context, kind=SpanKind.SERVER, attributes={MODEL: slug})


def traceparent_of(span: Span) -> bytes:
    """The span as the next hop's parent."""
    context = span.get_span_context()
    return b"00-%032x-%016x-%02x" % (context.trace_id, context.span_id, context.trace_flags)


def end_span(span: Span, terms: LeaseTerms, record: CallRecord) -> None:
    """Ends the span of a recorded call."""
    span.set_attributes(
        {
            DECISION: terms.decision_id,
            LEASE: terms.lease_id,
            RECEIPT: request_id(terms.lease_id, record.sequence),
            UNITS: record.units,
            OUTCOME: record.outcome.name.lower(),
        }
    )
    if record.outcome is not Outcome.OK:
        span.set_status(Status(StatusCode.ERROR, record.outcome.name.lower()))
    span.end()


def end_refused_span(span: Span, code: str) -> None:
    """Ends the span of a call that was not made."""
    span.set_status(Status(StatusCode.ERROR, code))
    span.end()
