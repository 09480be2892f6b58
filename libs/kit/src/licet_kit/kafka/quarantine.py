"""Quarantined keys: held back whole and in order, never skipped.

The bytes that replay drains live in Postgres, where no retention ends them; operators see a copy in `<topic>.parked`,
without what would make that copy too large for a broker.
A handler and a replay of one key exclude each other by the quarantine's row: consumers take it FOR SHARE before they
park behind it, replay takes it FOR UPDATE before it looks for what is parked.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, and_, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from licet_kit.kafka.message import Raw
from licet_kit.outbox import MAX_PAYLOAD_BYTES, Outbox, row
from licet_kit.tables import MessagingTables

# Errors are shown to operators; this much of a message is enough.
_DETAIL_CHARS = 500
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 60.0


@dataclass(frozen=True, slots=True)
class Held:
    """A key in quarantine. `reason` is a stable code; `event_id` names the event that caused it."""

    consumer: str
    topic: str
    key: str
    reason: str
    event_id: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where one consumer's quarantine of one topic lives."""

    tables: MessagingTables
    outbox: Outbox
    consumer: str
    topic: str

    async def held_keys(self, session: AsyncSession, keys: Iterable[str]) -> set[str]:
        """Return which of the keys are in quarantine, and keep them there until the transaction ends."""
        table = self.tables.quarantine
        query = select(table.c.key).where(
            table.c.consumer == self.consumer, table.c.topic == self.topic, table.c.key.in_(sorted(set(keys)))
        )
        return set((await session.scalars(query.order_by(table.c.key).with_for_update(read=True))).all())

    async def hold(self, session: AsyncSession, held: Held, detail: str, *, retry: bool) -> bool:
        """Put a key into quarantine; false when it is there already. `retry`: the replayer tries by itself."""
        table = self.tables.quarantine
        statement = (
            insert(table)
            .values(
                consumer=held.consumer,
                topic=held.topic,
                key=held.key,
                reason=held.reason,
                detail=detail[:_DETAIL_CHARS],
                event_id=held.event_id,
                retry_at=_in(FIRST_RETRY_S) if retry else None,
            )
            .on_conflict_do_nothing()
            .returning(table.c.key)
        )
        return (await session.execute(statement)).first() is not None

    async def park(self, session: AsyncSession, raws: Sequence[Raw], reason: str) -> None:
        """Keep messages behind their key, in order, and show them in `<topic>.parked`."""
        if not raws:
            return
        await session.execute(
            insert(self.tables.parked),
            [
                {
                    "consumer": self.consumer,
                    "topic": raw.topic,
                    "key": raw.key,
                    "event_id": raw.event_id,
                    "payload": raw.payload,
                    "headers": dict(raw.headers),
                    "timestamp_ms": round(raw.timestamp.timestamp() * 1000),
                }
                for raw in raws
            ],
        )
        await self.outbox.write(session, [self._copy(raw, reason) for raw in raws])

    async def lock(self, session: AsyncSession, key: str) -> Held | None:
        """Return the quarantine of a key, locked against consumers; None when there is none."""
        table = self.tables.quarantine
        query = select(table.c.reason, table.c.event_id).where(self._key(key)).with_for_update()
        found = (await session.execute(query)).first()
        return Held(self.consumer, self.topic, key, found.reason, found.event_id) if found else None

    async def first_parked(self, session: AsyncSession, key: str) -> tuple[int, Raw] | None:
        """Return the oldest message behind a key, with the id of its row."""
        table = self.tables.parked
        query = select(table).where(
            table.c.consumer == self.consumer, table.c.topic == self.topic, table.c.key == key
        )
        found = (await session.execute(query.order_by(table.c.id).limit(1))).first()
        if found is None:
            return None
        timestamp = datetime.fromtimestamp(found.timestamp_ms / 1000, UTC)
        return found.id, Raw(found.topic, found.key, found.event_id, found.payload, found.headers, timestamp)

    async def unpark(self, session: AsyncSession, parked_id: int) -> None:
        """Forget a message that had its effect."""
        await session.execute(delete(self.tables.parked).where(self.tables.parked.c.id == parked_id))

    async def lift(self, session: AsyncSession, key: str) -> None:
        """End the quarantine of a key that has nothing parked."""
        await session.execute(delete(self.tables.quarantine).where(self._key(key)))

    async def postpone(self, session: AsyncSession, held: Held, detail: str, *, retry: bool) -> None:
        """Record a replay that failed, and when the next one is due: twice as far away each time."""
        table = self.tables.quarantine
        delay_s = func.least(
            LONGEST_RETRY_S, FIRST_RETRY_S * func.power(2, func.least(table.c.attempts + 1, 20))
        )
        await session.execute(
            update(table)
            .where(self._key(held.key))
            .values(
                reason=held.reason,
                event_id=held.event_id,
                detail=detail[:_DETAIL_CHARS],
                attempts=table.c.attempts + 1,
                retry_at=func.now() + func.make_interval(0, 0, 0, 0, 0, 0, delay_s) if retry else None,
            )
        )

    async def due(self, session: AsyncSession, limit: int) -> Sequence[str]:
        """Return the keys whose replay is due, the longest waiting first."""
        table = self.tables.quarantine
        here = and_(table.c.consumer == self.consumer, table.c.topic == self.topic)
        query = select(table.c.key).where(here, table.c.retry_at <= func.now()).order_by(table.c.retry_at)
        return (await session.scalars(query.limit(limit))).all()

    def _key(self, key: str) -> ColumnElement[bool]:
        table = self.tables.quarantine
        return and_(table.c.consumer == self.consumer, table.c.topic == self.topic, table.c.key == key)

    def _copy(self, raw: Raw, reason: str) -> dict[str, object]:
        headers, payload = dict(raw.headers), raw.payload
        # A record may be as large as a broker takes, and no copy can leave that has grown past it: what a foreign
        # producer sent must not keep its key out of quarantine. The stored record is whole.
        left_out = []
        if len(payload) + _size(headers) > MAX_PAYLOAD_BYTES:
            left_out.append("payload")
            payload = b""
        if _size(headers) > MAX_PAYLOAD_BYTES:
            left_out.append("headers")
            headers = {}
        headers |= {"licet_consumer": self.consumer, "licet_reason": reason}
        if left_out:
            headers["licet_left_out"] = ",".join(left_out)
        return row(
            topic=f"{raw.topic}.parked",
            key=raw.key,
            # Two consumers may park one event; both copies are events of their own.
            event_id=f"{self.consumer}:{raw.event_id}",
            payload=payload,
            headers=headers,
        )


async def release(
    session: AsyncSession, tables: MessagingTables, *, consumer: str, topic: str, key: str
) -> None:
    """Let the replayer try a key at once: call it in the transaction that writes what the key waits for.

    Does nothing when the key is not in quarantine.
    """
    table = tables.quarantine
    here = and_(table.c.consumer == consumer, table.c.topic == topic, table.c.key == key)
    await session.execute(update(table).where(here).values(retry_at=func.now(), attempts=0))


def _size(headers: Mapping[str, str]) -> int:
    return sum(len(name.encode()) + len(value.encode()) for name, value in headers.items())


def _in(delay_s: float) -> ColumnElement[datetime]:
    return func.now() + func.make_interval(0, 0, 0, 0, 0, 0, delay_s)
