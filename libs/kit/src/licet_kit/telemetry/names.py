"""Telemetry names in one place: OpenTelemetry's messaging conventions are still moving."""

# Span attributes (OpenTelemetry semantic conventions, messaging, stable by 2026 except where noted).
MESSAGING_SYSTEM = "messaging.system"
MESSAGING_DESTINATION = "messaging.destination.name"
MESSAGING_OPERATION = "messaging.operation.type"
MESSAGING_CONSUMER_GROUP = "messaging.consumer.group.name"
MESSAGING_MESSAGE_ID = "messaging.message.id"
MESSAGING_KAFKA_KEY = "messaging.kafka.message.key"
MESSAGING_BATCH_COUNT = "messaging.batch.message_count"
ERROR_TYPE = "error.type"

# W3C trace context, as a header of records.
HEADER_TRACEPARENT = "traceparent"

# Our instruments; Prometheus sees them with `.` as `_` and the unit at the end.
OUTBOX_PUBLISHED = "licet.outbox.published"
OUTBOX_FAILED = "licet.outbox.failed"
OUTBOX_DELAY = "licet.outbox.delay"
CONSUMER_HANDLED = "licet.consumer.handled"
CONSUMER_REPEATED = "licet.consumer.repeated"
CONSUMER_RETRIED = "licet.consumer.retried"
CONSUMER_PARKED = "licet.consumer.parked"
CONSUMER_DURATION = "licet.consumer.duration"
CONSUMER_WAITING = "licet.consumer.waiting"
QUARANTINE_LIFTED = "licet.quarantine.lifted"

# Metric labels: low cardinality only.
LABEL_TOPIC = "topic"
LABEL_CONSUMER = "consumer"
LABEL_REASON = "reason"

# Buckets of durations in seconds: OpenTelemetry's own defaults are made for milliseconds.
DURATION_BOUNDARIES_S = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
)
