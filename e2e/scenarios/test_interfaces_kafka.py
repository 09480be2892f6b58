"""The records of a running installation are those that docs/architecture/interfaces.md promises."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from google.protobuf import message_factory
from google.protobuf.message import Message

from e2e.demo import calls
from e2e.observe import eventually
from e2e.scenarios.conftest import Buyer, Installation
from e2e.scenarios.test_interfaces import FILES, PAGE, table, topics

# Above the rows that the plan includes, so that the deposit pays too and a settlement has something to pay.
CALLS = 4
ROWS = 100
TAKER = "taker"
TRACEPARENT = r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"


@dataclass(frozen=True, slots=True)
class Record:
    """One record with its value read by its `ce_type`."""

    topic: str
    key: str
    headers: dict[str, str]
    value: Message


def named(name: str) -> type[Message]:
    """The class of a full protobuf name."""
    for file in FILES:
        for message in file.DESCRIPTOR.message_types_by_name.values():
            if message.full_name == name:
                return message_factory.GetMessageClass(message)
    raise AssertionError(f"no protobuf file has {name!r}")


def keys(topic: str) -> str:
    """The page's words about a topic's key."""
    return next(row[1] for row in table("Topics") if row[0].split(" ")[0] == topic)


def promised_key(record: Record) -> str:
    """The key that the page's words give for a record's content."""
    said, value = keys(record.topic), record.value
    if "payer:operator" in said:
        return chain_key(said, value)
    fields = said.split(";")[0].split(":")
    return ":".join(str(getattr(value, f)) for f in fields) or absent_key(said)


def absent_key(said: str) -> str:
    """The word that stands for an empty key."""
    found = re.search(r"`(\w+)` where", said)
    return found.group(1) if found else ""


def chain_key(said: str, value: Any) -> str:
    """The first of the page's alternatives whose fields the event's payload has."""
    payload = getattr(value, value.WhichOneof("payload"))
    if payload.DESCRIPTOR.name == "PlanCreated":
        payload = payload.terms
    groups = [g.split(":") for g in re.findall(r"`([\w:]+)`", said)]
    have = {f.name for f in payload.DESCRIPTOR.fields}
    # A settled group names its asset too, and a dispute its payer, yet each belongs to its operator's batch.
    batch = {"batch", "operator"} <= have
    asset = [said.split(";", maxsplit=1)[0]]
    for group in groups[-1:] if batch else [*groups[:-1], asset, groups[-1]]:
        if have.issuperset(group):
            return ":".join(str(getattr(payload, f)) for f in group)
    raise AssertionError(f"the page names no key for {payload.DESCRIPTOR.name}")


async def drain(bootstrap: str, names: set[str]) -> list[Record]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        await consumer._client.set_topics(names)
        partitions = [TopicPartition(n, p) for n in names for p in consumer.partitions_for_topic(n) or ()]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        found: list[Record] = []
        while any([await consumer.position(p) < ends[p] for p in partitions]):
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                found.extend(read(r) for r in batch)
        return found
    finally:
        await consumer.stop()


def read(raw: Any) -> Record:
    """A record of the broker's; its type is what its header says."""
    headers = {name: value.decode() for name, value in raw.headers}
    value = named(headers["ce_type"]).FromString(raw.value)
    return Record(raw.topic, raw.key.decode(), headers, value)


@pytest.fixture(scope="module")
def records(installation: Installation, make_buyer: Callable[..., Buyer]) -> list[Record]:
    """Every record after calls, a settlement and a transfer that revokes."""
    world, notes = installation.world, installation.notes
    bootstrap = world.endpoints["kafka"]["bootstrap"]
    buyer = make_buyer(deposit=50_000_000)
    for number in range(CALLS):
        calls.through(world, notes, buyer.name, calls.held_out(ROWS), replica=number % 2)
    taker = world.actor(TAKER).address
    world.client(buyer.name).chain.transfer_license(buyer.license_id, taker)

    def everything() -> list[Record]:
        world.operator().usage.settle()
        found = asyncio.run(drain(bootstrap, set(topics())))
        return found if {r.topic for r in found} == set(topics()) else []

    return eventually(everything, "every topic has a record", 90)


def test_every_topic_carries_only_its_messages(records: list[Record]) -> None:
    said = topics()
    for record in records:
        assert record.headers["ce_type"] in said[record.topic], record.topic


def test_every_key_is_the_one_that_the_page_names(records: list[Record]) -> None:
    wrong = {
        (r.topic, r.value.DESCRIPTOR.name, r.key, promised_key(r))
        for r in records
        if r.key != promised_key(r)
    }
    assert wrong == set()


def test_every_record_has_the_headers_of_the_page(records: list[Record]) -> None:
    said = set(re.findall(r"`(ce_\w+|content-type)`", PAGE))
    for record in records:
        headers = record.headers
        assert set(headers) - {"traceparent", "tracestate"} == said, record
        assert headers["ce_specversion"] == "1.0"
        assert headers["ce_id"]
        assert headers["ce_source"].startswith("licet/"), headers
        assert datetime.fromisoformat(headers["ce_time"]).tzinfo is not None
        assert "T" in headers["ce_time"]


def test_a_traceparent_is_well_formed_and_the_gateways_records_have_none(records: list[Record]) -> None:
    parents = [r for r in records if "traceparent" in r.headers]
    assert all(re.fullmatch(TRACEPARENT, r.headers["traceparent"]) for r in parents)
    sources = {r.headers["ce_source"] for r in parents}
    assert sources
    assert "licet/inference-gateway" not in sources
