"""The lease session on a real gRPC stream that breaks, stays silent, and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from licet_gateway.clients import LicensingSession
from licet_gateway.dataplane.clock import now_ns
from licet_gateway.dataplane.pool import Ask
from licet_gateway.domain import Credential, LeaseTerms, Refusal
from licet_gateway.testing.keys import api_key
from licet_gateway.testing.licensing import TOKEN, Right, ScriptedLicensing, scripted_licensing
from licet_kit.testing.plugin import Eventually

SLUG = "acme/risk"
KEY = api_key(1)


@dataclass
class Heard:
    """Answers as the lease book would get them."""

    granted_: list[tuple[Ask, LeaseTerms]] = field(default_factory=list)
    denied_: list[tuple[Ask, Refusal]] = field(default_factory=list)

    def granted(self, ask: Ask, terms: LeaseTerms) -> None:
        self.granted_.append((ask, terms))

    def denied(self, ask: Ask, refusal: Refusal) -> None:
        self.denied_.append((ask, refusal))


@pytest.fixture
async def licensing() -> AsyncIterator[ScriptedLicensing]:
    async with scripted_licensing() as double:
        double.allow(KEY.digest, Right(SLUG, "0x01"))
        yield double


@asynccontextmanager
async def session(port: int, heard: Heard, token: str = TOKEN) -> AsyncIterator[LicensingSession]:
    made = LicensingSession(f"127.0.0.1:{port}", token, "worker-1")
    made.deliver_to(heard)
    stop = asyncio.Event()
    running = asyncio.create_task(made.run(stop))
    try:
        yield made
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await running


def ask(number: int, key: bytes = KEY.digest) -> Ask:
    return Ask(f"ask-{number}", Credential(api_key_hash=key), SLUG, None, 5, 1, now_ns())


async def test_answers_come_back_to_their_asks(licensing: ScriptedLicensing, eventually: Eventually) -> None:
    heard = Heard()
    async with session(licensing.port, heard) as lent:
        lent.ask(ask(1))
        lent.ask(ask(2, api_key(2).digest))
        await eventually(lambda: heard.granted_ and heard.denied_, 10)
        assert [(a.request_id, terms.units) for a, terms in heard.granted_] == [("ask-1", 5)]
        assert [(a.request_id, refusal.code) for a, refusal in heard.denied_] == [
            ("ask-2", "license_missing")
        ]
        lent.give_back("lease", 3, 4)
        await lent.flush(10)
        assert [(r.lease_id, r.spent_units, r.last_sequence, r.worker_id) for r in licensing.returns] == [
            ("lease", 3, 4, "worker-1")
        ]


async def test_an_ask_whose_stream_broke_is_repeated_under_its_name(
    licensing: ScriptedLicensing, eventually: Eventually
) -> None:
    """Granted, and the answer lost: a second lease would leave the first one to nobody."""
    heard = Heard()
    licensing.answering.clear()
    async with session(licensing.port, heard) as lent:
        lent.ask(ask(1))
        await eventually(lambda: licensing.asks, 10)
        licensing.break_streams()
        await eventually(lambda: len(licensing.asks) == 2, 10)
        licensing.answering.set()
        await eventually(lambda: heard.granted_, 10)
    assert {each.request_id for each in licensing.asks} == {"ask-1"}
    assert len(licensing.leases) == 1


async def test_a_silent_stream_is_left_for_another(
    licensing: ScriptedLicensing, eventually: Eventually
) -> None:
    heard = Heard()
    licensing.answering.clear()
    async with session(licensing.port, heard) as lent:
        lent.ask(ask(1))
        # Asked a second time without anyone having broken the stream.
        await eventually(lambda: len(licensing.asks) == 2, 10)
        licensing.answering.set()
        await eventually(lambda: heard.granted_, 10)


async def test_the_stream_before_a_restart_takes_no_ask(eventually: Eventually) -> None:
    """gRPC leaves the request iterator of a broken stream waiting; what it took would be sent nowhere."""
    heard = Heard()
    async with AsyncExitStack() as before:
        old = await before.enter_async_context(scripted_licensing())
        old.allow(KEY.digest, Right(SLUG, "0x01"))
        async with session(old.port, heard) as lent:
            lent.ask(ask(1))
            await eventually(lambda: heard.granted_, 10)
            await before.aclose()
            async with scripted_licensing(old.port) as new:
                new.allow(KEY.digest, Right(SLUG, "0x01"))
                await eventually(lambda: new.streams == 1, 10)
                lent.ask(ask(2))
                await eventually(lambda: len(heard.granted_) == 2, 10)
                # One that was lost would have come only on another stream, after the silence of this one.
                assert new.streams == 1


async def test_an_ask_that_was_never_sent_is_dropped_with_those_who_waited(eventually: Eventually) -> None:
    heard = Heard()
    async with session(1, heard) as lent:
        old = ask(1)
        lent.ask(Ask(old.request_id, old.credential, SLUG, None, 5, 1, now_ns() - 10**10))
        await eventually(lambda: not lent.connected, 5)
        async with asyncio.timeout(10):
            await lent.flush(10)


async def test_a_worker_with_the_wrong_token_gets_nothing(
    licensing: ScriptedLicensing, eventually: Eventually
) -> None:
    heard = Heard()
    async with session(licensing.port, heard, token="wrong") as lent:
        lent.ask(ask(1))
        await eventually(lambda: licensing.turned_away, 10)
        assert not heard.granted_
        assert not licensing.leases
