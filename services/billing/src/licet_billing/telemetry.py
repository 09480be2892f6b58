"""Names and instruments of billing's own metrics, in one place. Labels are states and reasons, never ids."""

from __future__ import annotations

from licet_kit.telemetry import meter

_meter = meter("licet_billing")

CHARGES = _meter.create_counter("licet.billing.charges", description="Calls charged, by disposition")
COVERED = _meter.create_counter("licet.billing.covered", description="Losses that their grant covered later")
POSTED = _meter.create_counter("licet.billing.posted", description="Final chain events posted in the ledger")
BROADCASTS = _meter.create_counter("licet.billing.broadcasts", description="Settlements sent, by outcome")
ANSWERS = _meter.create_counter("licet.billing.answers", description="Answers to challenges, by outcome")
STOPPED = _meter.create_counter(
    "licet.billing.settlement_stopped", description="Looks at which settlement needed a person, by reason"
)
DIFFERENCES = _meter.create_gauge(
    "licet.billing.differences", description="Differences that the last reconciliation found"
)

LABEL_CHAIN = "chain_id"
LABEL_DISPOSITION = "disposition"
LABEL_OUTCOME = "outcome"
LABEL_REASON = "reason"
