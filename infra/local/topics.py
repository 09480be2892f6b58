"""The Kafka topics of docs/architecture/interfaces.md, as data: what exists, its key, and how long it is kept.

Names here carry no prefix; `KAFKA_TOPIC_PREFIX` is put before each where it is set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PARTITIONS_LOCAL = 3
PARKED_SUFFIX = ".parked"
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: what its key is, the protobuf message it carries, and its broker settings."""

    name: str
    key: str
    message: str
    settings: Mapping[str, str] = field(default_factory=dict)


TOPICS = (
    Topic("chain.event", "asset_id, or payer:operator for escrow events", "chain.v1.ChainEvent"),
    Topic("chain.finality", "chain_id", "chain.v1.BlockFinality"),
    Topic(
        "licensing.grant",
        "grant_id",
        "licensing.v1.GrantChanged",
        # Whoever starts late needs the last state of every grant, not its history.
        {"cleanup.policy": "compact"},
    ),
    Topic(
        "licensing.revocation",
        "grant_id",
        "licensing.v1.GrantRevoked",
        # A gateway reads back two lease TTLs (60 s) at most; an hour leaves room for a long outage.
        {"retention.ms": str(HOUR_MS)},
    ),
    Topic("licensing.decision", "account_id", "licensing.v1.DecisionLogged"),
    Topic("usage.recorded", "lease_id", "usage.v1.UsageRecorded"),
    Topic("billing.settlement", "chain_id:batch", "billing.v1.SettlementChanged"),
    Topic("vault.version", "asset_id", "vault.v1.VersionStateChanged"),
)


def parked(topic: Topic) -> Topic:
    """Where events of a quarantined key wait: same key, original bytes, kept until they are replayed."""
    return Topic(topic.name + PARKED_SUFFIX, topic.key, topic.message, {"retention.ms": "-1"})


def every_topic(prefix: str = "") -> list[Topic]:
    """All topics with their parking places, under `prefix`."""
    both = [*TOPICS, *(parked(topic) for topic in TOPICS)]
    return [Topic(prefix + topic.name, topic.key, topic.message, topic.settings) for topic in both]
