"""Names of the vault's spans and instruments, and the instruments themselves."""

from __future__ import annotations

from licet_kit.telemetry import meter, tracer

SPAN_SERVE = "vault.serve"

LABEL_STATE = "state"
LABEL_REASON = "reason"

TRACER = tracer(__name__)
_meter = meter(__name__)

CHANGES = _meter.create_counter("licet.vault.state_changes", description="Changes of a version's state")
ACTIVE = _meter.create_gauge(
    "licet.vault.active_versions", description="Versions that the chain holds active"
)
READY = _meter.create_gauge("licet.vault.ready_versions", description="Active versions that Triton serves")
FAILED = _meter.create_counter(
    "licet.vault.version_failures", description="Faults that nobody expected, each of one version"
)
SERVE_DURATION = _meter.create_histogram(
    "licet.vault.serve_duration", unit="s", description="Verifying, placing, loading and probing one version"
)
UPLOADED = _meter.create_counter("licet.vault.uploaded", unit="By", description="Plaintext bytes taken in")
