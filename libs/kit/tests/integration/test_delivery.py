"""What becomes of messages between Kafka and the database: batches, retries, quarantine, replay."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from licet_kit.db import open_engine, transaction
from licet_kit.errors import PermanentError, RetryableError, Unavailable
from licet_kit.kafka import (
    Fate,
    Held,
    Message,
    ParkKey,
    Raw,
    RetryPolicy,
    fate_of,
    protobuf,
    release,
    replay,
    replayer,
)
from licet_kit.kafka.delivery import Delivery, NotQuarantined
from licet_kit.kafka.quarantine import Place
from licet_kit.kafka.subscriber import Subscription
from licet_kit.testing.plugin import Eventually, StartProxy
from licet_kit.testing.store import TOPIC, WordStore
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

GROUP = "listener"
FAST = RetryPolicy(attempts=3, first_delay_s=0.001, longest_delay_s=0.001)


class NotAllowed(PermanentError):
    """This word is never said."""

    code = "not_allowed"


def raw(key: str, value: str) -> Raw:
    return Raw(
        TOPIC, key, f"{key}-{value}", StringValue(value=value).SerializeToString(), {}, datetime.now(UTC)
    )


def delivery(store: WordStore, handler: Any = None, **options: Any) -> Delivery[StringValue]:
    return Delivery(
        engine=store.engine,
        place=Place(tables=store.tables, outbox=store.outbox, consumer=GROUP, topic=TOPIC),
        decode=protobuf(StringValue),
        handler=handler or store.apply,
        retry=FAST,
        **options,
    )


def refusing(store: WordStore, *bad: str, error: Exception | None = None) -> Callable[..., Awaitable[None]]:
    """A handler that leaves its effect and then raises for some words."""

    async def handle(session: AsyncSession, message: Message[StringValue]) -> None:
        await store.apply(session, message)
        if message.value.value in bad:
            raise error or NotAllowed(message.value.value)

    return handle


async def parked(store: WordStore) -> list[str]:
    table = store.tables.parked
    async with store.engine.connect() as connection:
        payloads = await connection.scalars(select(table.c.payload).order_by(table.c.id))
        return [StringValue.FromString(payload).value for payload in payloads]


async def outbox_rows(store: WordStore) -> list[Any]:
    table = store.tables.outbox
    async with store.engine.connect() as connection:
        return list((await connection.execute(select(table).order_by(table.c.id))).all())


async def reason(store: WordStore, key: str) -> str | None:
    table = store.tables.quarantine
    async with store.engine.connect() as connection:
        return await connection.scalar(select(table.c.reason).where(table.c.key == key))


async def test_a_repeated_event_has_one_effect(store: WordStore) -> None:
    one = delivery(store)
    await one.deliver([raw("key", "a"), raw("key", "a"), raw("key", "b")])
    await one.deliver([raw("key", "b"), raw("key", "c")])
    assert await store.effects("key") == ["a", "b", "c"]


async def test_two_workers_with_the_same_records_give_them_one_effect_in_order(store: WordStore) -> None:
    async def slow(session: AsyncSession, message: Message[StringValue]) -> None:
        await store.apply(session, message)
        await asyncio.sleep(0.005)

    records = [raw("key", f"{number}") for number in range(8)]
    workers = [delivery(store, slow) for _ in range(4)]
    await asyncio.gather(*(worker.deliver(records[: 5 + n]) for n, worker in enumerate(workers)))
    assert await store.effects("key") == [f"{number}" for number in range(8)]


async def test_a_poison_message_holds_back_its_key_and_no_other(store: WordStore) -> None:
    one = delivery(store, refusing(store, "poison"))
    await one.deliver([raw("a", "1"), raw("b", "poison"), raw("b", "2"), raw("c", "3")])
    await one.deliver([raw("b", "4"), raw("a", "5")])
    assert (await store.effects("a"), await store.effects("b"), await store.effects("c")) == (
        ["1", "5"],
        [],
        ["3"],
    )
    assert await parked(store) == ["poison", "2", "4"]
    assert await reason(store, "b") == "not_allowed"


async def test_what_is_parked_is_shown_with_its_bytes_and_reason(store: WordStore) -> None:
    record = replace(raw("key", "poison"), headers={"ce_id": "key-poison", "traceparent": "00-ab-cd-01"})
    await delivery(store, refusing(store, "poison")).deliver([record, raw("key", "next")])
    first, second = await outbox_rows(store)
    assert (first.topic, first.key, first.payload) == (f"{TOPIC}.parked", "key", record.payload)
    assert first.headers == {**record.headers, "licet_consumer": GROUP, "licet_reason": "not_allowed"}
    assert second.headers["licet_reason"] == "key_held"


async def test_a_record_too_large_for_a_copy_is_held_back_and_replayed_whole(store: WordStore) -> None:
    sizes: list[int] = []

    async def measure(session: AsyncSession, message: Message[StringValue]) -> None:
        sizes.append(len(message.value.value))

    large = StringValue(value="a" * 900_001).SerializeToString()
    wide = replace(raw("wide", "poison"), payload=large)
    wider = replace(raw("wider", "poison"), headers={"note": "n" * 900_001})
    refused = refusing(store, "poison", "a" * 900_001, error=NotAllowed("too long"))
    await delivery(store, refused).deliver([wide, wider, raw("good", "b")])
    assert await store.effects("good") == ["b"]
    copies = [(row.key, row.payload, row.headers["licet_left_out"]) for row in await outbox_rows(store)]
    assert copies == [("wide", b"", "payload"), ("wider", b"", "payload,headers")]
    repaired = Subscription(delivery(store, measure), "")
    assert await replay(repaired, "wide")
    assert await replay(repaired, "wider")
    assert sizes == [900_001, len("poison")]


async def test_the_right_is_denied_in_the_transaction_that_quarantines(store: WordStore) -> None:
    denied: list[Held] = []

    async def deny(session: AsyncSession, held: Held) -> None:
        # The row is there for this transaction, and for no other yet.
        table = store.tables.quarantine
        assert (await session.scalars(select(table.c.key))).all() == [held.key]
        assert await store.count(table) == 0
        denied.append(held)

    one = delivery(store, refusing(store, "poison"), on_quarantine=deny)
    await one.deliver([raw("key", "poison"), raw("key", "next")])
    assert denied == [Held(GROUP, TOPIC, "key", "not_allowed", "key-poison")]


async def test_nothing_is_passed_over_when_the_right_cannot_be_denied(store: WordStore) -> None:
    async def broken(_session: AsyncSession, _held: Held) -> None:
        raise KeyError("no such right")

    one = delivery(store, refusing(store, "poison"), on_quarantine=broken)
    with pytest.raises(NotQuarantined) as raised:
        await one.deliver([raw("key", "poison")])
    assert fate_of(raised.value) is Fate.WAIT
    assert await store.count(store.tables.inbox) == 0


async def test_a_retryable_error_is_tried_again_and_counted_once(store: WordStore) -> None:
    attempts: list[str] = []

    async def handle(session: AsyncSession, message: Message[StringValue]) -> None:
        await store.apply(session, message)
        attempts.append(message.value.value)
        if len(attempts) < 3:
            raise RetryableError

    await delivery(store, handle).deliver([raw("key", "a")])
    assert await store.effects("key") == ["a"]
    assert len(attempts) == 3


@pytest.mark.parametrize(
    ("error", "code"), [(RetryableError(), "retryable"), (ZeroDivisionError(), "ZeroDivisionError")]
)
async def test_retries_end_in_quarantine(store: WordStore, error: Exception, code: str) -> None:
    await delivery(store, refusing(store, "a", error=error)).deliver([raw("key", "a")])
    assert await reason(store, "key") == code
    assert await parked(store) == ["a"]


async def test_bytes_that_do_not_decode_are_quarantined(store: WordStore) -> None:
    await delivery(store).deliver([raw("good", "1"), replace(raw("bad", "2"), payload=b"\xff\xff")])
    assert await store.effects("good") == ["1"]
    assert await reason(store, "bad") == "undecodable"


async def test_a_batch_is_one_call_of_the_batch_handler(store: WordStore) -> None:
    calls: list[list[str]] = []

    async def batch(session: AsyncSession, messages: list[Message[StringValue]]) -> None:
        calls.append([message.value.value for message in messages])
        for message in messages:
            await store.apply(session, message)

    one = delivery(store, batch_handler=batch)
    await one.deliver([raw("key", "a"), raw("key", "b")])
    await one.deliver([raw("key", "b"), raw("key", "c")])
    assert calls == [["a", "b"], ["c"]]
    assert await store.effects("key") == ["a", "b", "c"]


async def test_replay_drains_in_order_and_then_lifts(store: WordStore) -> None:
    lifted: list[str] = []

    async def on_lift(_session: AsyncSession, held: Held) -> None:
        lifted.append(held.key)

    await delivery(store, refusing(store, "poison")).deliver(
        [raw("key", v) for v in ("1", "poison", "2", "3")]
    )
    repaired = delivery(store, on_lift=on_lift)
    assert await replay(Subscription(repaired, ""), "key")
    await repaired.deliver([raw("key", "4")])
    assert await store.effects("key") == ["1", "poison", "2", "3", "4"]
    assert lifted == ["key"]
    assert await store.count(store.tables.quarantine) == 0
    assert await store.count(store.tables.parked) == 0


async def test_a_replay_that_fails_keeps_what_follows_parked(store: WordStore) -> None:
    await delivery(store, refusing(store, "poison")).deliver(
        [raw("key", v) for v in ("poison", "1", "worse", "2")]
    )
    assert not await replay(Subscription(delivery(store, refusing(store, "worse")), ""), "key")
    assert await store.effects("key") == ["poison", "1"]
    assert await parked(store) == ["worse", "2"]
    assert await replay(Subscription(delivery(store), ""), "key")
    assert await store.effects("key") == ["poison", "1", "worse", "2"]


async def test_messages_that_arrive_during_a_replay_keep_their_place(store: WordStore) -> None:
    async def slow(session: AsyncSession, message: Message[StringValue]) -> None:
        await asyncio.sleep(0.002)
        await store.apply(session, message)

    await delivery(store, refusing(store, "0")).deliver([raw("key", f"{number}") for number in range(10)])
    repaired = Subscription(delivery(store, slow), "")

    async def arrive() -> None:
        for number in range(10, 40):
            await repaired.delivery.deliver([raw("key", f"{number}")])

    await asyncio.gather(replay(repaired, "key"), replay(repaired, "key"), arrive())
    while not await replay(repaired, "key"):
        pass
    assert await store.effects("key") == [f"{number}" for number in range(40)]


async def child_of(store: WordStore, session: AsyncSession, message: Message[StringValue]) -> None:
    """A handler of children that wait for an effect of `parent`."""
    if message.key == "child":
        parents = await session.scalars(select(store.effect.c.id).where(store.effect.c.key == "parent"))
        if not parents.all():
            raise ParkKey("parent")
    else:
        await release(session, store.tables, consumer=GROUP, topic=TOPIC, key="child")
    await store.apply(session, message)


async def test_a_child_is_parked_until_its_parent_arrives(
    store: WordStore, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first try comes by itself; later ones only because the parent released the child.
    monkeypatch.setattr("licet_kit.kafka.quarantine.LONGEST_RETRY_S", 3600.0)
    monkeypatch.setattr("licet_kit.kafka.quarantine.FIRST_RETRY_S", 3600.0)

    async def handle(session: AsyncSession, message: Message[StringValue]) -> None:
        await child_of(store, session, message)

    one = delivery(store, handle)
    stop = asyncio.Event()
    running = asyncio.create_task(replayer([Subscription(one, "")])(stop))
    await one.deliver([raw("child", "1"), raw("child", "2")])
    assert await reason(store, "child") == "parent_missing"
    await one.deliver([raw("parent", "x")])
    await eventually(lambda: both(store))
    stop.set()
    await running
    assert await store.count(store.tables.quarantine) == 0


async def both(store: WordStore) -> bool:
    return await store.effects("child") == ["1", "2"]


async def test_a_parked_child_is_tried_again_by_itself(store: WordStore, eventually: Eventually) -> None:
    async def handle(session: AsyncSession, message: Message[StringValue]) -> None:
        if not await store.effects("parent"):
            raise ParkKey("parent")
        await store.apply(session, message)

    one = delivery(store, handle)
    stop = asyncio.Event()
    running = asyncio.create_task(replayer([Subscription(one, "")])(stop))
    await one.deliver([raw("child", "1"), raw("child", "2")])
    await delivery(store).deliver([raw("parent", "x")])
    await eventually(lambda: both(store))
    stop.set()
    await running


async def test_an_outage_of_the_database_parks_nothing(store: WordStore, proxy: StartProxy) -> None:
    server = urlsplit(store.url)
    door = await proxy(server.hostname or "", server.port or 0)
    async with open_engine(store.url.replace(f":{server.port}/", f":{door.port}/")) as engine:
        one = replace(delivery(store), engine=engine)
        await one.deliver([raw("key", "1")])
        await door.cut()
        with pytest.raises(Exception, match=r".") as raised:
            await one.deliver([raw("key", "2")])
        assert fate_of(raised.value) is Fate.WAIT
        await door.restore()
        await one.deliver([raw("key", "2")])
    assert await store.effects("key") == ["1", "2"]
    assert await store.count(store.tables.quarantine) == 0


@pytest.mark.parametrize(
    ("statement", "fate"),
    [
        ("SELECT 1/0", Fate.RETRY),
        ("SELECT * FROM not_there", Fate.WAIT),
        ("SELECT pg_terminate_backend(pg_backend_pid())", Fate.WAIT),
        ("SET LOCAL statement_timeout = 1; SELECT pg_sleep(5)", Fate.RETRY),
        ("SET TRANSACTION READ ONLY; CREATE TABLE x ()", Fate.WAIT),
    ],
)
async def test_errors_of_the_database_have_the_fate_of_their_class(
    store: WordStore, statement: str, fate: Fate
) -> None:
    async def fail() -> None:
        async with transaction(store.engine) as session:
            connection = await session.connection()
            for part in statement.split(";"):
                await connection.exec_driver_sql(part)

    with pytest.raises(Exception, match=r".") as raised:
        await fail()
    assert fate_of(raised.value) is fate


def test_what_is_away_is_waited_for() -> None:
    assert fate_of(Unavailable()) is Fate.WAIT
    assert fate_of(ConnectionRefusedError()) is Fate.WAIT
    assert fate_of(TimeoutError()) is Fate.WAIT


async def test_a_connection_that_breaks_in_a_handler_parks_nothing(store: WordStore) -> None:
    broken: list[str] = []

    async def handle(session: AsyncSession, message: Message[StringValue]) -> None:
        await store.apply(session, message)
        if len(broken) < 1 + FAST.attempts:
            broken.append(message.event_id)
            await session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    one = delivery(store, handle)
    for _ in range(1 + FAST.attempts):
        with pytest.raises(DBAPIError) as raised:
            await one.deliver([raw("key", "1")])
        assert fate_of(raised.value) is Fate.WAIT
    await one.deliver([raw("key", "1")])
    assert await store.effects("key") == ["1"]
    assert await store.count(store.tables.quarantine) == 0
