"""Names and instruments of licensing's own metrics, in one place. Labels are codes and reasons, never ids."""

from __future__ import annotations

from licet_kit.telemetry import meter

_meter = meter("licet_licensing")

DECISIONS = _meter.create_counter("licet.licensing.decisions", description="Lease decisions by code")
STRANGERS = _meter.create_counter(
    "licet.licensing.strangers", description="Requests with a credential that is no account's"
)
BATCH_SIZE = _meter.create_histogram(
    "licet.licensing.batch.size", description="Requests answered in one transaction"
)
BATCH_DURATION = _meter.create_histogram("licet.licensing.batch.duration", unit="s")
SWEPT = _meter.create_counter("licet.licensing.swept", description="Rows taken by each sweep")

LABEL_CODE = "code"
LABEL_SWEEP = "sweep"
