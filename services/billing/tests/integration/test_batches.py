"""Composition of batches in the database: each charge once, whoever composes."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest
from licet_billing.domain.settlement import BatchKey
from licet_billing.testing.builders import (
    ASSET,
    CHAIN,
    ESCROW,
    OPERATOR,
    PAYER,
    TOKEN,
    ChainLog,
    Gateway,
)
from licet_billing.testing.inbox import Inbox, make_inbox
from licet_billing.usecases import batches
from licet_kit.db import transaction
from licet_schemas import settlement
from sqlalchemy.ext.asyncio import AsyncEngine


@pytest.fixture
async def inbox(engine: AsyncEngine) -> Inbox:
    """Plan at 7 a unit, and ten calls on a deposit and on a license."""
    made, gateway, log = make_inbox(engine, CHAIN, ESCROW, OPERATOR), Gateway(), ChainLog()
    await made.send(log.plan(7), log.key())
    await made.send(gateway.deposit_changed(10_000), gateway.license_changed(100))
    await made.send(*gateway.calls(*range(10)), *gateway.calls(1, 1, grant_id=gateway.license_grant))
    return made


async def prepare(inbox: Inbox, limit: int = 1000) -> BatchKey | None:
    async with transaction(inbox.engine) as session:
        return await batches.prepare(
            session,
            chain_id=CHAIN,
            operator=OPERATOR,
            escrow=ESCROW,
            caps={TOKEN: 10**9},
            last_on_chain=0,
            limit=limit,
        )


async def test_concurrent_composition_makes_one_batch_of_each_charge(inbox: Inbox) -> None:
    await prepare(inbox, limit=1)
    # In vain, so that every connection is open and knows the statements: all begin at the same moment then.
    assert set(await asyncio.gather(*(prepare(inbox) for _ in range(8)))) == {None}
    await inbox.rows("UPDATE settlement_batches SET state = 'included' RETURNING number")
    made = await asyncio.gather(*(prepare(inbox) for _ in range(8)))
    assert [key for key in made if key is not None] == [BatchKey(CHAIN, OPERATOR, 2)]
    charges = await inbox.rows("SELECT batch, item, leaf FROM charges WHERE amount > 0 ORDER BY seq")
    assert [(c.batch, c.item, c.leaf) for c in charges] == [(1, 0, 0), *((2, 0, leaf) for leaf in range(8))]


async def test_next_batch_waits_until_the_one_before_is_on_chain(inbox: Inbox) -> None:
    assert await prepare(inbox, limit=4) == BatchKey(CHAIN, OPERATOR, 1)
    assert await prepare(inbox, limit=4) is None
    await inbox.rows("UPDATE settlement_batches SET state = 'included' RETURNING number")
    assert await prepare(inbox, limit=4) == BatchKey(CHAIN, OPERATOR, 2)
    taken = await inbox.rows(
        "SELECT batch, count(*) AS n FROM charges WHERE amount > 0 GROUP BY batch ORDER BY batch"
    )
    assert [(row.batch, row.n) for row in taken] == [(1, 4), (2, 4), (None, 1)]


async def test_document_leads_to_the_root_that_is_sent(inbox: Inbox) -> None:
    key = await prepare(inbox)
    assert key is not None
    async with transaction(inbox.engine) as session:
        sent = await batches.settlement_of(session, key)
    (stored,) = await inbox.rows("SELECT digest, body FROM batch_contents")
    assert (
        hashlib.sha256(stored.body).hexdigest() == stored.digest == sent.data_uri.removeprefix("licet:batch:")
    )
    document = json.loads(stored.body)
    (item,) = document["items"]
    drawn = settlement.Item(
        item["payer"],
        bytes.fromhex(item["authority"][2:]),
        item["window"],
        int(item["amount"]),
        bytes.fromhex(item["payer_root"][2:]),
        item["records"],
    )
    assert (item["payer"], item["asset_id"], item["amount"]) == (PAYER, ASSET, str(45 * 7))
    group = settlement.Group(bytes.fromhex(item["asset_id"][2:]), item["token"], (drawn,))
    assert (
        settlement.batch_tree(settlement.lines_of([group])).root
        == sent.root
        == bytes.fromhex(document["root"][2:])
    )
    assert sum(int(amount) for _, amount in item["leaves"]) == 45 * 7
    assert "account-1" not in stored.body.decode()


async def test_charge_in_a_batch_cannot_be_put_into_another(inbox: Inbox) -> None:
    await prepare(inbox, limit=4)
    before = await inbox.rows("SELECT request_id, batch FROM charges WHERE batch = 1 ORDER BY request_id")
    await inbox.rows("UPDATE settlement_batches SET state = 'included' RETURNING number")
    await prepare(inbox)
    assert (
        await inbox.rows("SELECT request_id, batch FROM charges WHERE batch = 1 ORDER BY request_id")
        == before
    )
