"""Kafka: the consumer factory, quarantine and replay, and the reader without a group."""

from licet_kit.kafka.connection import KafkaUnavailable, topic_name
from licet_kit.kafka.delivery import RetryPolicy
from licet_kit.kafka.fanout import Fanout
from licet_kit.kafka.fate import Fate, ParkKey, fate_of
from licet_kit.kafka.message import Message, Raw, Undecodable, protobuf
from licet_kit.kafka.quarantine import Held, release
from licet_kit.kafka.replay import replay, replayer
from licet_kit.kafka.subscriber import (
    Subscription,
    WrongAckPolicy,
    broker_service,
    inspect_subscribers,
    make_broker,
    subscribe,
)

__all__ = [
    "Fanout",
    "Fate",
    "Held",
    "KafkaUnavailable",
    "Message",
    "ParkKey",
    "Raw",
    "RetryPolicy",
    "Subscription",
    "Undecodable",
    "WrongAckPolicy",
    "broker_service",
    "fate_of",
    "inspect_subscribers",
    "make_broker",
    "protobuf",
    "release",
    "replay",
    "replayer",
    "subscribe",
    "topic_name",
]
