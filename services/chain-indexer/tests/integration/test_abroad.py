"""An asset of another chain: the mirror's row and the API say what the deployed MirrorBook says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import astuple
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from eth_utils.address import to_checksum_address as checksum
from licet_indexer.api import make_app
from licet_indexer.domain.chain import Chain, asset_id
from licet_indexer.main import MIGRATIONS
from licet_indexer.settings import IndexerSettings
from licet_indexer.testing.pilot import catch_up, leading
from licet_kit.db import open_engine, reading
from licet_kit.testing.deployment import DeployedChain
from licet_kit.testing.plugin import CreateDatabase, StartChain
from licet_schemas import eip712
from licet_schemas.abi import load_abi
from licet_schemas.licet.chain.v1 import chain_pb2
from licet_schemas.mirrors import MirrorStatement, lineage_hash, mirror_digest, mirror_domain
from sqlalchemy.ext.asyncio import AsyncEngine
from web3 import AsyncHTTPProvider, AsyncWeb3
from web3.types import RPCEndpoint

HOME, REGISTRY, SLUG = 8453, "0x" + "ab" * 20, "acme/abroad"
OWNER, AGENT, NEXT = 2, 3, 4
ASSET = asset_id(HOME, REGISTRY, int.from_bytes(eip712.keccak(SLUG.encode())))
NO_PARENTS = lineage_hash(())


class Abroad:
    """The MirrorBook of a deployed chain, its reporter (the timelock) and the asset's owners."""

    def __init__(self, deployed: DeployedChain) -> None:
        self.deployed = deployed
        self._provider = AsyncHTTPProvider(deployed.anvil.rpc_url)
        self.w3 = AsyncWeb3(self._provider)
        self.book = self.w3.eth.contract(
            checksum(deployed.contracts["MirrorBook"]), abi=load_abi("MirrorBook")
        )
        self.reporter = deployed.contracts["TimelockController"]

    async def close(self) -> None:
        await self._provider.disconnect()

    async def send(self, sender: str, call: Any) -> None:
        receipt = await self.w3.eth.wait_for_transaction_receipt(
            await call.transact({"from": checksum(sender)}), poll_latency=0.01
        )
        assert receipt["status"] == 1

    async def report(self, owner: int, epoch: int) -> None:
        for method, params in (
            ("anvil_impersonateAccount", [self.reporter]),
            ("anvil_setBalance", [self.reporter, hex(10**18)]),
        ):
            await self.w3.provider.make_request(RPCEndpoint(method), params)
        account = checksum(self.deployed.account(owner).address)
        await self.send(self.reporter, self.book.functions.report(ASSET, account, epoch, NO_PARENTS))

    async def bind(self, owner: int, epoch: int) -> MirrorStatement:
        now = (await self.w3.eth.get_block("latest"))["timestamp"]
        statement = MirrorStatement(
            slug=SLUG,
            home_chain_id=HOME,
            home_registry=checksum(REGISTRY),
            home_owner=checksum(self.deployed.account(owner).address),
            epoch=epoch,
            owner=checksum(self.deployed.account(AGENT).address),
            valid_until=now + 3600,
            nonce=0,
        )
        key = bytes.fromhex(self.deployed.account(owner).key.removeprefix("0x"))
        signature = eip712.sign(mirror_digest(mirror_domain(31337, self.book.address), statement), key)
        sender = self.deployed.account(AGENT).address
        await self.send(sender, self.book.functions.bind(astuple(statement), [], signature))
        return statement


@pytest.fixture
async def abroad(chain: StartChain) -> AsyncIterator[Abroad]:
    opened = Abroad(await chain())
    yield opened
    await opened.close()


@pytest.fixture
async def engine(database: CreateDatabase) -> AsyncIterator[AsyncEngine]:
    async with open_engine(await database(MIGRATIONS)) as opened:
        yield opened


def followed(abroad: Abroad) -> Chain:
    settings = IndexerSettings(
        database_url="postgresql://unused/x",
        kafka_bootstrap="unused:1",
        chains_file=abroad.deployed.chains_file,
    )
    return settings.followed_chains()[0]


async def shown(abroad: Abroad, engine: AsyncEngine, **filters: Any) -> list[dict[str, Any]]:
    async with leading(engine, followed(abroad)) as follower:
        await catch_up(follower)
        await follower.heard(None)
    transport = httpx2.ASGITransport(app=make_app(engine))
    async with httpx2.AsyncClient(transport=transport, base_url="http://indexer") as client:
        response = await client.get("/v1/mirrors", params=filters)
    assert response.status_code == 200, response.text
    data: list[dict[str, Any]] = response.json()["data"]
    return data


async def told(engine: AsyncEngine) -> list[str | None]:
    query = sa.text("SELECT payload FROM outbox WHERE topic = 'chain.event' AND key = :asset ORDER BY id")
    async with reading(engine) as session:
        rows = await session.execute(query, {"asset": ASSET})
        return [chain_pb2.ChainEvent.FromString(row.payload).WhichOneof("payload") for row in rows]


async def test_mirrors_are_shown_as_the_contract_has_them(abroad: Abroad, engine: AsyncEngine) -> None:
    owner, agent = (abroad.deployed.account(index).address for index in (OWNER, AGENT))
    await abroad.report(OWNER, 1)
    [reported] = await shown(abroad, engine)
    assert (reported["reported_owner"], reported["reported_epoch"], reported["lineage"]) == (
        owner,
        "1",
        "0x" + NO_PARENTS.hex(),
    )
    assert (reported["owner"], reported["slug"], reported["open"]) == (None, None, False)

    statement = await abroad.bind(OWNER, 1)
    [bound] = await shown(abroad, engine, asset_id=ASSET, chain_id=31337)
    assert bound["open"] == await abroad.book.functions.isOpen(ASSET).call()
    assert bound["open"]
    wanted = {"owner": agent, "home_owner": owner, "epoch": "1", "valid_until": statement.valid_until}
    wanted |= {"slug": SLUG, "home_chain_id": str(HOME), "home_registry": REGISTRY, "reported_epoch": "1"}
    assert wanted.items() <= bound.items()

    await abroad.report(NEXT, 2)
    [stale] = await shown(abroad, engine)
    assert stale["open"] == await abroad.book.functions.isOpen(ASSET).call()
    assert (stale["open"], stale["owner"], stale["reported_epoch"]) == (False, agent, "2")

    await abroad.bind(NEXT, 2)
    assert [row["open"] for row in await shown(abroad, engine)] == [True]
    canceller = checksum(abroad.deployed.account(NEXT).address)
    await abroad.send(canceller, abroad.book.functions.cancel(ASSET, 0))
    [ended] = await shown(abroad, engine)
    assert (ended["open"], ended["valid_until"]) == (False, 0)
    assert await shown(abroad, engine, asset_id="0x" + "00" * 32) == []
    assert await told(engine) == ["owner_reported", "mirror_bound"] * 2 + ["mirror_bound"]


async def test_a_mirror_ends_with_its_statement(abroad: Abroad, engine: AsyncEngine) -> None:
    await abroad.report(OWNER, 1)
    statement = await abroad.bind(OWNER, 1)
    now = (await abroad.w3.eth.get_block("latest"))["timestamp"]
    await abroad.deployed.anvil.advance(statement.valid_until - now - 1)
    assert [row["open"] for row in await shown(abroad, engine)] == [True]
    await abroad.deployed.anvil.advance(1)
    assert [row["open"] for row in await shown(abroad, engine)] == [False]
