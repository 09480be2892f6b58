"""An asset at home on one chain is sold, served and paid for on another, until it changes hands at home.

An installation of its own: no other scenario pays for a second chain, and figures of two chains meet nowhere else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import pytest
from licet_sdk.chain import Chain, PlanOffer
from licet_sdk.errors import ChainError
from licet_sdk.holds import Holds
from web3 import Web3

from e2e.demo import books, calls, story
from e2e.demo.steps import Notes
from e2e.observe import eventually
from e2e.scenarios.conftest import PROFILE
from e2e.world import World
from infra.local.profile import SECOND_CHAIN, Profile
from infra.local.stack import Stack

HOME, AWAY = 31337, 31338
PRICE, INCLUDED_ROWS = 7_000_000, 40
NET = PRICE - PRICE // 100
DEPOSIT, ROWS = 1_000_000, 3
SELLER, BUYER, PAYER, HEIR = "publisher", "buyer", "giver", "taker"
NOBODY = "0x" + "00" * 20


@dataclass(frozen=True, slots=True)
class TwoChains:
    """The installation, the asset, and its plans on the other chain: with units in the price, and without."""

    world: World
    notes: Notes
    plan_id: int
    metered_plan_id: int

    @property
    def asset_id(self) -> str:
        """The asset's id, on every chain."""
        return str(self.notes["asset_id"])

    def away(self, name: str) -> Chain:
        """An actor's wallet on the other chain."""
        return self.world.client(name).chain_of(AWAY)

    def mirror(self) -> dict[str, Any]:
        """The asset's mirror, as the indexer shows it."""
        [found] = self.catalogue("/v1/mirrors", asset_id=self.asset_id, chain_id=AWAY)
        return found

    def catalogue(self, path: str, **filters: Any) -> list[dict[str, Any]]:
        """A list of the indexer."""
        with httpx2.Client(base_url=self.world.endpoints["indexer"]["http"], trust_env=False) as client:
            data: list[dict[str, Any]] = client.get(path, params=filters).json()["data"]
        return data


@pytest.fixture(scope="module")
def chains(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoChains]:
    home = tmp_path_factory.mktemp("two-chains")
    stack = Stack(Profile.named(f"{PROFILE}-chains", home=home / "stack"))
    # One replica is enough to see that a right of the other chain is served.
    stack.start([name for name in (*stack.profile.default_parts, SECOND_CHAIN) if name != "gateway-2"])
    try:
        with contextlib.closing(World(stack.endpoints)) as world:
            notes = Notes(home / "notes.json")
            for step in (story.train_model, story.publish_model):
                step(world, notes)
            yield _on_sale(world, notes)
    finally:
        stack.stop()
        stack.wipe()


def _on_sale(world: World, notes: Notes) -> TwoChains:
    """The first owner's mirror, with a plan; nothing is on sale before the report."""
    seller = world.client(SELLER)
    with pytest.raises(ChainError) as early:
        seller.mirrors(AWAY).bind(seller.mirrors(AWAY).sign(story.SLUG))
    assert early.value.code == "MirrorBook_NotReported"
    world.operator().mirrors(AWAY).report(story.SLUG)
    asset_id, _ = seller.mirrors(AWAY).bind(seller.mirrors(AWAY).sign(story.SLUG))
    assert asset_id == notes["asset_id"]
    offer = PlanOffer(
        price=PRICE,
        period_s=story.MONTH_S,
        included_units=INCLUDED_ROWS,
        unit_price=story.UNIT_PRICE,
        metering_rule="rows:FEATURES",
        server=world.actor("operator").address,
        terms_digest=books.digest_of(story.TERMS),
    )
    plan_id, _ = seller.chain_of(AWAY).create_plan(asset_id, offer)
    metered_id, _ = seller.chain_of(AWAY).create_plan(asset_id, replace(offer, price=0, included_units=0))
    return TwoChains(world, notes, plan_id, metered_id)


def _buy(chains: TwoChains) -> int:
    buyer = chains.away(BUYER)
    buyer.send("TestUSD", "mint", buyer.wallet, PRICE)
    return buyer.buy(chains.plan_id)[0]


def _pending(chains: TwoChains) -> int:
    away = chains.away(SELLER)
    asset, token = bytes.fromhex(chains.asset_id[2:]), Web3.to_checksum_address(away.addresses["TestUSD"])
    return int(away.call("RevenueRouter", "pendingOf", asset, token)[0])


def test_the_catalogue_has_the_asset_under_one_id(chains: TwoChains) -> None:
    eventually(lambda: chains.mirror()["open"], "the mirror is open")
    assert {name: chains.mirror()[name] for name in ("slug", "home_chain_id", "reported_epoch", "owner")} == {
        "slug": story.SLUG,
        "home_chain_id": str(HOME),
        "reported_epoch": "1",
        "owner": chains.world.actor(SELLER).address.lower(),
    }
    plans = chains.catalogue("/v1/plans", asset_id=chains.asset_id)
    wanted = [(AWAY, str(plan_id)) for plan_id in (chains.plan_id, chains.metered_plan_id)]
    assert [(plan["chain_id"], plan["plan_id"]) for plan in plans] == wanted
    assets = chains.catalogue("/v1/assets")
    assert [(asset["chain_id"], asset["asset_id"]) for asset in assets] == [(HOME, chains.asset_id)]
    home, away = chains.world.client(SELLER).chain, chains.away(SELLER)
    assert home.addresses == away.addresses
    assert (home.w3.eth.chain_id, away.w3.eth.chain_id) == (HOME, AWAY)


def test_a_licence_of_the_other_chain_is_served_and_paid_for_there(chains: TwoChains) -> None:
    world, notes = chains.world, chains.notes
    calls.make_key(world, notes, BUYER)
    assert calls.refusal_code(world, notes, BUYER) == "license_missing"
    token_id = _buy(chains)
    grant = eventually(lambda: _final(world, token_id), "the licence of the other chain is final")
    assert grant["grant_id"].startswith(f"{AWAY}:{chains.away(BUYER).addresses['License']}:{token_id}:")
    rows = calls.held_out(ROWS)
    assert (calls.through(world, notes, BUYER, rows) == calls.direct(world, notes, rows)).all()
    eventually(lambda: books.grant(world, "license", token_id)["spent"] == ROWS, "the rows are counted")

    seller, home = chains.away(SELLER), world.client(SELLER).chain
    before, at_home = seller.balance(), home.balance()
    assert seller.claim([chains.asset_id])[0] == NET == seller.balance() - before
    assert home.balance() == at_home
    eventually(lambda: books.reconciled(world), "receipts, ledger and both chains agree", 40)


def test_use_is_settled_on_the_chain_of_its_deposit(chains: TwoChains) -> None:
    world, notes = chains.world, chains.notes
    calls.make_key(world, notes, PAYER)
    payer = chains.away(PAYER)
    payer.send("TestUSD", "mint", payer.wallet, DEPOSIT)
    token_id, _ = payer.buy(chains.metered_plan_id)
    deposit_id, _ = payer.deposit(world.actor("operator").address, DEPOSIT)
    granted = eventually(
        lambda: _final(world, deposit_id, "deposit"), "the deposit of the other chain is final"
    )
    assert (granted["granted"], granted["grant_id"].split(":")[0]) == (DEPOSIT, str(AWAY))
    eventually(lambda: books.grant(world, "license", token_id)["grant_id"], "the licence is known")
    rows = calls.held_out(ROWS)
    eventually(lambda: calls.through(world, notes, PAYER, rows).shape == (ROWS, 2), "the call is answered")
    due = ROWS * story.UNIT_PRICE

    holds = Holds(world.client(SELLER).config, chains.away(SELLER))

    def settled() -> bool:
        world.operator().usage.settle()
        holds.release([chains.asset_id])
        return _pending(chains) == due

    eventually(settled, "the use is settled on the other chain", 60)
    holds.close()
    assert (
        world.client(PAYER).chain.call("UsageEscrow", "depositOf", bytes.fromhex(deposit_id[2:]))[0] == NOBODY
    )
    assert chains.away(SELLER).claim([chains.asset_id])[0] == due - due // 100
    eventually(lambda: books.reconciled(world), "receipts, ledger and both chains agree", 40)


def _final(world: World, token_id: object, source: str = "license") -> dict[str, Any]:
    found = books.grant(world, source, token_id)
    return found if found["free"] else {}


def test_a_transfer_at_home_stops_sales_abroad_until_the_next_owner_signs(chains: TwoChains) -> None:
    world, notes = chains.world, chains.notes
    seller, heir = world.client(SELLER), world.client(HEIR)
    token = seller.chain.call("AssetRegistry", "tokenIdOf", bytes.fromhex(chains.asset_id[2:]))
    seller.chain.send("AssetRegistry", "transferFrom", seller.chain.wallet, heir.chain.wallet, token)
    world.operator().mirrors(AWAY).report(story.SLUG)
    with pytest.raises(ChainError) as closed:
        _buy(chains)
    assert closed.value.code == "PlanBook_MirrorClosed"
    with pytest.raises(ChainError) as former:
        seller.mirrors(AWAY).bind(seller.mirrors(AWAY).sign(story.SLUG))
    assert former.value.code == "MirrorBook_NotReported"
    eventually(lambda: not chains.mirror()["open"], "the catalogue shows it closed")
    # What was sold goes on.
    assert calls.refusal_code(world, notes, BUYER) == ""

    heir.mirrors(AWAY).bind(heir.mirrors(AWAY).sign(story.SLUG))
    eventually(lambda: chains.mirror()["open"], "the catalogue shows it open")
    _buy(chains)
    assert chains.away(HEIR).claim([chains.asset_id])[0] == NET
    with pytest.raises(ChainError) as nothing:
        chains.away(SELLER).claim([chains.asset_id])
    assert nothing.value.code == "RevenueRouter_NothingToClaim"
