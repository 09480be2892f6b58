"""The mirror against the deployed contracts' own views: the real events of every step of the path."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from eth_utils.address import to_checksum_address as checksum
from licet_indexer.db import mirror
from licet_indexer.domain import rows as r
from licet_indexer.domain.chain import Chain
from licet_indexer.follower.follow import Follower
from licet_indexer.main import MIGRATIONS
from licet_indexer.settings import IndexerSettings
from licet_indexer.testing.pilot import catch_up, leading
from licet_indexer.testing.walking import BUYER, PUBLISHER, SECOND, Path
from licet_kit.db import open_engine, reading
from licet_kit.testing.plugin import CreateDatabase, StartChain
from licet_schemas.licet.chain.v1 import chain_pb2
from sqlalchemy.ext.asyncio import AsyncEngine


@pytest.fixture
async def path(chain: StartChain) -> AsyncIterator[Path]:
    walked = Path(await chain())
    for step in (walked.publish, walked.offer, walked.buy, walked.breach, walked.use, walked.collect):
        await step()
    yield walked
    await walked.close()


@pytest.fixture
async def engine(database: CreateDatabase) -> AsyncIterator[AsyncEngine]:
    async with open_engine(await database(MIGRATIONS)) as opened:
        yield opened


def followed(path: Path) -> Chain:
    settings = IndexerSettings(
        database_url="postgresql://unused/x",
        kafka_bootstrap="unused:1",
        chains_file=path.deployed.chains_file,
    )
    return settings.followed_chains()[0]


async def row_of(engine: AsyncEngine, table: type[r.RowT], *key: int | str) -> r.RowT:
    async with reading(engine) as session:
        found = (await mirror.load(session, [(table, key)]))[table, key]
    assert isinstance(found, table)
    return found


async def follow(engine: AsyncEngine, chain: Chain) -> Follower:
    async with leading(engine, chain) as follower:
        await catch_up(follower)
        return follower


async def test_mirror_says_what_the_contracts_say(path: Path, engine: AsyncEngine) -> None:
    chain = followed(path)
    await follow(engine, chain)
    cid, token = chain.chain_id, checksum(path.token)

    asset = await row_of(engine, r.Asset, cid, path.asset)
    assert asset.owner == (await path.view("AssetRegistry", "assetOwner", path.asset)).lower()
    assert (
        asset.active_version == "0x" + (await path.view("AssetRegistry", "activeVersion", path.asset)).hex()
    )
    assert asset.slug == await path.view("AssetRegistry", "slugOf", path.asset)
    assert asset.token_id == await path.view("AssetRegistry", "tokenIdOf", path.asset)
    for digest in ("0x" + "01" * 32, "0x" + "02" * 32):
        version = await row_of(engine, r.Version, cid, path.asset, digest)
        held = await path.view("AssetRegistry", "versionOf", path.asset, digest)
        assert (version.ordinal, version.published_at, version.uri) == tuple(held)

    for plan_id in (1, 2):
        plan = await row_of(engine, r.Plan, cid, plan_id)
        assert plan.open == await path.view("PlanBook", "isOpen", plan_id)
        terms = await path.view("PlanBook", "termsOf", plan_id)
        assert (plan.price, plan.period_s, plan.included_units, plan.unit_price) == tuple(terms[4:8])
        assert (plan.metering_rule, plan.requests_per_s) == tuple(terms[10:12])
        assert (plan.transferable, plan.commercial) == tuple(terms[12:14])
        assert (plan.optimistic_units, plan.optimistic_amount) == tuple(terms[14:16])
        assert (plan.supply, plan.per_recipient) == tuple(terms[2:4])
        assert (plan.trial_period_s, plan.trial_units, plan.seats) == (*terms[8:10], terms[18])
        assert (plan.server, plan.terms_digest) == (terms[16].lower(), "0x" + terms[19].hex())

    for number in (1, 2):
        held_license = await row_of(engine, r.License, cid, number)
        assert held_license.holder == (await path.view("License", "ownerOf", number)).lower()
        on_chain = await path.view("License", "licenseOf", number)
        mine = (held_license.plan_id, held_license.start_time, held_license.end_time, held_license.ordinal)
        assert mine == tuple(on_chain[:4])

    assert (await row_of(engine, r.License, cid, 3)).holder == "0x" + "00" * 20, "burned"
    revoked = await row_of(engine, r.License, cid, 4)
    assert revoked.end_time == await path.view("License", "endTime", 4)
    assert await path.view("License", "isRevoked", 4)

    deposit = await row_of(engine, r.Deposit, cid, "0x" + path.deposit.hex())
    on_chain = await path.view("UsageEscrow", "depositOf", path.deposit)
    assert (deposit.total - deposit.drawn, deposit.drawn) == tuple(on_chain[3:])
    last = await path.view("UsageEscrow", "lastBatchOf", checksum(path.operator))
    batch = await row_of(engine, r.Batch, cid, path.operator, last)
    assert (
        batch.root
        == "0x" + (await path.view("UsageEscrow", "batchRootOf", checksum(path.operator), last)).hex()
    )
    for number in (1, 2):
        hold = await row_of(engine, r.Hold, cid, path.operator, number, path.asset, path.token)
        on_chain = await path.view("UsageEscrow", "holdOf", path.hold(number))
        left = hold.paid - hold.refunded - hold.released
        assert (left, hold.release_at) == (on_chain[0], on_chain[2])
    key = await row_of(engine, r.OperatorKey, cid, path.operator, path.of(9))
    interval = await path.view("UsageEscrow", "receiptKeyOf", checksum(path.operator), checksum(path.of(9)))
    assert (key.valid_from, key.valid_until) == (interval[0], min(interval[1], 2**63 - 1))

    revenue = await row_of(engine, r.Revenue, cid, path.asset, path.token)
    pending = await path.view("RevenueRouter", "pendingOf", path.asset, token)
    assert revenue.sale + revenue.usage - revenue.distributed == pending[0]
    earning = await row_of(engine, r.Earning, cid, path.of(PUBLISHER), path.token)
    publisher = checksum(path.of(PUBLISHER))
    assert earning.earned - earning.claimed == await path.view(
        "RevenueRouter", "claimableOf", publisher, token
    )
    assert earning.claimed == await path.view("TestUSD", "balanceOf", publisher)


async def test_royalties_wait_for_the_parent(path: Path, engine: AsyncEngine) -> None:
    child = await path.derive("tuner/tumour-risk", 1_000)
    owner, token = checksum(path.of(SECOND)), checksum(path.token)
    contributors = [(checksum(path.of(9)), 1), (checksum(path.of(8)), 2)]
    await path.send(owner, "AssetRegistry", "setContributors", child, 5_000, contributors)
    await path.send(path.of(BUYER), "UsageEscrow", "deposit", checksum(path.operator), token, 10_010)
    await path.settle(3, 10_010, asset_id=child)
    await path.release(3, child)
    await path.send(owner, "RevenueRouter", "distribute", child, token)
    chain = followed(path)
    await follow(engine, chain)
    # 100 fee, 991 royalty, 8,919 left: 4,459 in thirds, 1 of it dust.
    for asset, waits in ((child, 0), (path.asset, 991)):
        assert (await path.view("RevenueRouter", "pendingOf", asset, token))[0] == waits
        revenue = await row_of(engine, r.Revenue, chain.chain_id, asset, path.token)
        assert revenue.sale + revenue.usage - revenue.distributed == waits
    assert (await row_of(engine, r.Revenue, chain.chain_id, child, path.token)).fee == 101
    for account, earned in ((path.of(9), 1_486), (path.of(8), 2_972), (path.of(SECOND), 4_460)):
        assert await path.view("RevenueRouter", "claimableOf", checksum(account), token) == earned
        earning = await row_of(engine, r.Earning, chain.chain_id, account, path.token)
        assert earning.earned - earning.claimed == earned


async def test_series_of_credits_count_what_became_of_their_units(path: Path, engine: AsyncEngine) -> None:
    token = await path.credits(3)
    chain = followed(path)
    await follow(engine, chain)
    series = await row_of(engine, r.Series, chain.chain_id, token)
    terms = await path.view("Credits", "seriesOf", checksum(token))
    assert (series.plan_id, series.asset_id, series.currency) == (
        terms[0],
        "0x" + terms[1].hex(),
        terms[2].lower(),
    )
    assert (series.unit_price, series.supply, series.expires_at, series.transferable) == tuple(terms[3:])
    assert series.issued == await path.view("Credits", "issuedOf", checksum(token)) == 10
    assert (series.redeemed, series.expired) == (4, 4)
    left = await path.view("CreditToken", "totalSupply")
    assert series.issued - series.redeemed - series.expired == left == 2
    revenue = await row_of(engine, r.Revenue, chain.chain_id, path.asset, path.token)
    pending = await path.view("RevenueRouter", "pendingOf", path.asset, checksum(path.token))
    assert revenue.sale + revenue.usage - revenue.distributed == pending[0] == 8 * 7


async def test_every_event_of_the_path_is_told_and_none_is_unknown(path: Path, engine: AsyncEngine) -> None:
    await path.mandate()
    await path.credits(4)
    former = await path.migrate()
    await follow(engine, followed(path))
    fresh, chain_id = 2**64 + 1, followed(path).chain_id
    for token_id in (2, fresh):
        kept = await row_of(engine, r.License, chain_id, token_id)
        assert kept.contract == path.deployed.contracts["License"]
        assert kept.holder == (await path.view("License", "ownerOf", token_id)).lower()
    assert (await row_of(engine, r.License, chain_id, 1)).contract == former
    async with reading(engine) as session:
        rows = await session.execute(
            sa.text("SELECT payload FROM outbox WHERE topic = 'chain.event' ORDER BY id")
        )
        events = [chain_pb2.ChainEvent.FromString(row.payload) for row in rows]
        unknown = (await session.execute(sa.text("SELECT count(*) FROM unknown_log"))).scalar_one()
    assert unknown == 0
    names = {event.WhichOneof("payload") for event in events}
    payloads = {field.name for field in chain_pb2.ChainEvent.DESCRIPTOR.oneofs_by_name["payload"].fields}
    # The path has one chain; `test_abroad` tells the events of an asset of another one.
    assert names == payloads - {"mirror_bound", "owner_reported"}
    moved = [e.license_transferred for e in events if e.WhichOneof("payload") == "license_transferred"]
    assert [(m.token_id, m.plan_id, m.asset_id, m.to) for m in moved] == [
        ("3", "1", path.asset, "0x" + "00" * 20),
        ("2", "1", path.asset, path.of(SECOND)),
        ("2", "1", path.asset, "0x" + "00" * 20),
    ]
    came = [e.license_migrated for e in events if e.HasField("license_migrated")]
    assert [(m.token_id, m.asset_id, m.holder) for m in came] == [("2", path.asset, path.of(SECOND))]
    ended = [e.license_revoked for e in events if e.HasField("license_revoked")]
    assert [(x.token_id, x.plan_id, x.asset_id) for x in ended] == [("4", "1", path.asset)]
    groups = [e.group_settled for e in events if e.HasField("group_settled")]
    assert [[line.paid for line in x.lines] for x in groups] == [["1000", "500"], ["6000"], ["600"], ["4"]]
    assert groups[2].lines[0].authority != groups[0].lines[0].authority == "0x" + "00" * 32
    assert [e.draw_refunded.amount for e in events if e.HasField("draw_refunded")] == ["600"]
    revoked = [e.mandate_revoked for e in events if e.HasField("mandate_revoked")]
    assert [x.remaining for x in revoked] == ["50"]
    assert ended[0].end_time > 0
    lent = [e.update_user for e in events if e.HasField("update_user")]
    assert [(u.token_id, u.plan_id, u.asset_id, u.user) for u in lent] == [
        ("2", "1", path.asset, path.of(9)),
        ("2", "1", path.asset, "0x" + "00" * 20),
    ]
    assert lent[0].expires > 0
    assert lent[1].expires == 0
    paid_by = {e.revenue_received.payer_contract for e in events if e.HasField("revenue_received")}
    assert paid_by == {path.deployed.contracts[name] for name in ("LicenseSale", "UsageEscrow", "Credits")}
    drawn = [e.exit_drawn for e in events if e.HasField("exit_drawn")]
    exits = {e.exit_id: e for e in drawn}
    assert len(exits) == 2, "the second batch draws on both exits"
