"""The outbox: events leave Postgres in the transaction of their effect, and a relay publishes them later.

Order. Ids come from a sequence before their transaction commits, so ids alone say nothing about commit order.
`enqueue` therefore takes an advisory lock on the key until commit: of two transactions that write one key the
second gets its id after the first has committed. Per key, id order is commit order; across keys there is none.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from google.protobuf.message import Message as ProtobufMessage
from licet_schemas.licet.options.v1 import options_pb2
from sqlalchemy import ARRAY, Integer, Table, bindparam, insert, text
from sqlalchemy.ext.asyncio import AsyncSession

from licet_kit.errors import PermanentError
from licet_kit.telemetry import inject

# One relay holds a bucket at a time; more buckets than relays keeps all of them busy.
BUCKETS = 64
# The brokers refuse records above 1 MiB with headers; a row that can never leave must never enter.
MAX_PAYLOAD_BYTES = 900_000
# Channel that wakes idle relays.
CHANNEL = "licet_outbox"

# First half of the two-part advisory lock of a key; the relay's buckets use another.
_KEY_LOCK = 0x4C4F4B

_LOCK_KEYS = text("SELECT pg_advisory_xact_lock(:space, k) FROM unnest(:hashes) AS k").bindparams(
    bindparam("hashes", type_=ARRAY(Integer))
)
_WAKE = text(f"SELECT pg_notify('{CHANNEL}', '')")


class PayloadTooLarge(PermanentError):
    """A message that no broker would take."""

    code = "payload_too_large"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message to publish. `topic` defaults to the one that its protobuf type names."""

    message: ProtobufMessage
    key: str
    event_id: str
    topic: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def destination(self) -> str:
        """The topic without the installation's prefix."""
        return self.topic or topic_of(type(self.message))


def topic_of(message_type: type[ProtobufMessage]) -> str:
    """Return the topic that a protobuf type travels on; ValueError when it names none."""
    topic = str(message_type.DESCRIPTOR.GetOptions().Extensions[options_pb2.topic])
    if not topic:
        raise ValueError(f"{message_type.DESCRIPTOR.full_name} names no topic")
    return topic


def event_headers(outgoing: Outgoing, source: str) -> dict[str, str]:
    """Return the CloudEvents headers (Kafka binding 1.0.2, binary mode) with the trace context of this moment."""
    headers = {
        "ce_specversion": "1.0",
        "ce_id": outgoing.event_id,
        "ce_source": f"licet/{source}",
        "ce_type": outgoing.message.DESCRIPTOR.full_name,
        "ce_time": datetime.now(UTC).isoformat(),
        "content-type": "application/protobuf",
        **outgoing.headers,
    }
    inject(headers)
    return headers


def bucket_of(key: str) -> int:
    """Return the bucket of a key. Fixed for good: rows in a database were written with it."""
    return zlib.crc32(key.encode()) % BUCKETS


@dataclass(frozen=True, slots=True)
class Outbox:
    """Writes events into the outbox table of one service.

    `single_writer` states that the caller's own lock already keeps transactions that write one key apart;
    it spares the lock of each key, of which a transaction with thousands of keys would exhaust the server's table.
    """

    table: Table
    source: str
    single_writer: bool = False

    async def enqueue(
        self,
        session: AsyncSession,
        message: ProtobufMessage,
        *,
        key: str,
        event_id: str,
        topic: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Write one event; call it after the row changes that it tells of."""
        outgoing = Outgoing(message=message, key=key, event_id=event_id, topic=topic, headers=headers or {})
        await self.enqueue_many(session, [outgoing])

    async def enqueue_many(self, session: AsyncSession, batch: Sequence[Outgoing]) -> None:
        """Write events in order. Raises PayloadTooLarge; an event id that still waits here is an IntegrityError."""
        await self.write(
            session,
            [
                row(
                    topic=outgoing.destination,
                    key=outgoing.key,
                    event_id=outgoing.event_id,
                    payload=outgoing.message.SerializeToString(deterministic=True),
                    headers=event_headers(outgoing, self.source),
                )
                for outgoing in batch
            ],
        )

    async def write(self, session: AsyncSession, rows: Sequence[dict[str, object]]) -> None:
        """Write rows made by `row`: bytes as they are, for messages that pass through."""
        if not rows:
            return
        if not self.single_writer:
            hashes = sorted({_key_hash(str(r["topic"]), str(r["key"])) for r in rows})
            await session.execute(_LOCK_KEYS, {"space": _KEY_LOCK, "hashes": hashes})
        await session.execute(insert(self.table), list(rows))
        await session.execute(_WAKE)


def row(
    *, topic: str, key: str, event_id: str, payload: bytes, headers: Mapping[str, str]
) -> dict[str, object]:
    """Make a row of the outbox table; raises PayloadTooLarge."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise PayloadTooLarge(
            f"{event_id} on {topic} has {len(payload)} bytes, {MAX_PAYLOAD_BYTES} are allowed"
        )
    return {
        "bucket": bucket_of(key),
        "topic": topic,
        "key": key,
        "event_id": event_id,
        "payload": payload,
        "headers": dict(headers),
    }


def _key_hash(topic: str, key: str) -> int:
    unsigned = zlib.crc32(f"{topic}\0{key}".encode())
    return unsigned - 2**32 if unsigned >= 2**31 else unsigned
