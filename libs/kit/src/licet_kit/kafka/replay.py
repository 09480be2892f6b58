"""Replay: gives what is parked behind a key its effect, in order, then lifts the quarantine."""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

from licet_kit.db import transaction
from licet_kit.kafka.delivery import Delivery
from licet_kit.kafka.fate import Fate, fate_of, reason_of
from licet_kit.kafka.message import message_of
from licet_kit.kafka.quarantine import Held
from licet_kit.kafka.subscriber import Subscription
from licet_kit.lifecycle import Service, wait_or_stop
from licet_kit.logs import get_logger
from licet_kit.telemetry import meter, names

log = get_logger(__name__)

T = TypeVar("T")

# How soon a released key is tried.
POLL_INTERVAL_S = 0.5
# Keys of one topic that are tried in one round, so that no topic starves the others.
KEYS_A_ROUND = 50
LONGEST_BACKOFF_S = 10.0

_lifted = meter(__name__).create_counter(names.QUARANTINE_LIFTED)


async def replay(subscription: Subscription[T], key: str) -> bool:
    """Drain a key; true when its quarantine is lifted, or it had none.

    Each parked message is a transaction with its effect, so that a crash repeats none. When one fails again, the key
    stays in quarantine with the new reason. Database errors are raised, and change nothing.
    """
    delivery = subscription.delivery
    while True:
        try:
            if await _step(delivery, key):
                return True
        except Exception as error:
            if fate_of(error) is Fate.WAIT:
                raise
            await _postpone(delivery, key, error)
            return False


def replayer(subscriptions: Sequence[Subscription[Any]]) -> Service:
    """Return the part of the process that replays keys which are due: parked for a parent, or released."""

    async def serve(stop: asyncio.Event) -> None:
        backoff_s = POLL_INTERVAL_S
        while not stop.is_set():
            try:
                await _round(subscriptions)
                backoff_s = POLL_INTERVAL_S
            except Exception as error:
                if fate_of(error) is not Fate.WAIT:
                    raise
                log.warning("replay.waiting", error=repr(error), retry_in_s=backoff_s)
                backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)
            await wait_or_stop(stop, backoff_s)

    return serve


async def _round(subscriptions: Sequence[Subscription[Any]]) -> None:
    if not subscriptions:
        return
    # All of a service's subscriptions share its database: one transaction looks for all of them.
    async with transaction(subscriptions[0].delivery.engine) as session:
        found = [(each, await each.delivery.place.due(session, KEYS_A_ROUND)) for each in subscriptions]
    for subscription, keys in found:
        for key in keys:
            await replay(subscription, key)


async def _step(delivery: Delivery[T], key: str) -> bool:
    """Handle the oldest parked message of a key; true when there was none left, and the quarantine is over."""
    place = delivery.place
    async with transaction(delivery.engine) as session:
        held = await place.lock(session, key)
        if held is None:
            return True
        parked = await place.first_parked(session, key)
        if parked is None:
            await place.lift(session, key)
            if delivery.on_lift is not None:
                await delivery.on_lift(session, held)
            log.info("quarantine.lifted", key=key, **delivery.labels)
            _lifted.add(1, delivery.labels)
            return True
        parked_id, raw = parked
        await delivery.handle(session, message_of(raw, delivery.decode))
        await place.unpark(session, parked_id)
    return False


async def _postpone(delivery: Delivery[Any], key: str, error: Exception) -> None:
    """Keep the key. Errors that more time may cure are tried again by themselves, later each time."""
    place, reason = delivery.place, reason_of(error)
    async with transaction(delivery.engine) as session:
        parked = await place.first_parked(session, key)
        held = Held(place.consumer, place.topic, key, reason, parked[1].event_id if parked else "")
        await place.postpone(session, held, repr(error), retry=fate_of(error) is not Fate.QUARANTINE)
    log.warning("replay.failed", key=key, event_id=held.event_id, reason=reason, error=repr(error))
