"""A base model's owner is paid from the use of its fine-tune, and so is who contributed to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from licet_sdk.chain import PlanOffer
from licet_sdk.errors import ChainError, Refused
from licet_sdk.inference import Inference
from licet_sdk.lineage import BASIS_POINTS, Contributor, Parent
from web3 import Web3

from e2e.demo import books, calls, story
from e2e.observe import eventually
from e2e.scenarios.conftest import FUNDS, Installation

BASE, FINE_TUNE = "base-lab/encoder", "clinic/fine-tune"
ROYALTY_BP, SHARE_BP = 2000, 2500
# Sums that no basis point divides.
PRICE, UNIT_PRICE, DEPOSIT = 4_000_003, 10_007, 1_000_000
ROWS = 4


@dataclass(frozen=True, slots=True)
class Lab:
    """Who owns the base model, who contributed to the fine-tune, who uses it; and the fine-tune on sale."""

    owner: str
    contributor: str
    user: str
    base_id: str
    asset_id: str
    plan_id: int


@pytest.fixture(scope="module")
def lab(installation: Installation, wallets: Iterator[int]) -> Lab:
    world, notes = installation.world, installation.notes
    owner, contributor, user = (f"buyer-{next(wallets)}" for _ in range(3))
    for name in (owner, contributor, user):
        books.fund(world, world.actor(name).address, FUNDS)
    base_id = world.client(owner).chain.find_or_register(BASE)
    publisher = world.client("publisher")
    asset_id = publisher.lineage.register(FINE_TUNE, [Parent(BASE, ROYALTY_BP)])
    publisher.lineage.share(asset_id, SHARE_BP, [Contributor(world.actor(contributor).address, 3)])
    digest = notes["digest"]
    publisher.chain.publish_version(asset_id, digest, f"{world.config.vault}/v1/manifests/{digest}")
    offer = PlanOffer(
        price=PRICE,
        period_s=story.MONTH_S,
        included_units=0,
        unit_price=UNIT_PRICE,
        metering_rule="rows:FEATURES",
        server=world.actor("operator").address,
        terms_digest=books.digest_of(story.TERMS),
    )
    plan_id, _ = publisher.chain.create_plan(asset_id, offer)
    return Lab(owner, contributor, user, base_id, asset_id, plan_id)


def _pending(installation: Installation, asset_id: str) -> int:
    chain = installation.world.chain
    token = Web3.to_checksum_address(chain.addresses["TestUSD"])
    return int(chain.call("RevenueRouter", "pendingOf", bytes.fromhex(asset_id[2:]), token)[0])


def test_lineage_is_declared_once_and_read_back(installation: Installation, lab: Lab) -> None:
    publisher = installation.world.client("publisher")
    contributor = installation.world.actor(lab.contributor).address
    assert publisher.lineage.parents(lab.asset_id) == [Parent(BASE, ROYALTY_BP)]
    assert publisher.lineage.contributors(lab.asset_id) == (SHARE_BP, [Contributor(contributor, 3)])
    with pytest.raises(ChainError) as taken:
        publisher.lineage.register(FINE_TUNE, [Parent(BASE, 1)])
    assert taken.value.code == "AssetRegistry_SlugTaken"
    with pytest.raises(ChainError) as greedy:
        publisher.lineage.register("clinic/greedy", [Parent(BASE, 5001)])
    assert greedy.value.code == "AssetRegistry_InvalidRoyalty"


def test_revenue_goes_up_the_lineage_and_to_contributors(installation: Installation, lab: Lab) -> None:
    world, notes = installation.world, installation.notes
    user = world.client(lab.user).chain
    license_id, _ = user.buy(lab.plan_id)
    deposit_id, _ = user.deposit(world.actor("operator").address, DEPOSIT)
    eventually(lambda: books.grant(world, "deposit", deposit_id)["granted"] == DEPOSIT, "deposit is final")
    eventually(lambda: books.grant(world, "license", license_id)["grant_id"], "license is final")
    calls.make_key(world, notes, lab.user)
    call = Inference(replace(world.config, api_key=notes[f"{lab.user}_key"]), 0)

    def is_answered() -> bool:
        try:
            call(FINE_TUNE, {"FEATURES": calls.held_out(ROWS)})
        except Refused:
            # Not loaded yet, or not known to this replica.
            return False
        return True

    eventually(is_answered, "the fine-tune answers", 60)
    call.close()
    earned = PRICE + ROWS * UNIT_PRICE

    def settled() -> bool:
        world.operator().usage.settle()
        world.client("publisher").holds.release([lab.asset_id])
        return _pending(installation, lab.asset_id) == earned

    eventually(settled, "price and use have come in", 60)

    net = earned - earned // 100
    royalty = net * ROYALTY_BP // BASIS_POINTS
    shared = (net - royalty) * SHARE_BP // BASIS_POINTS
    owner, contributor = world.client(lab.owner).chain, world.client(lab.contributor).chain
    before = owner.balance()
    claimed, _ = owner.claim([lab.asset_id, lab.base_id])
    assert claimed == royalty == owner.balance() - before
    assert contributor.claim([])[0] == shared
    kept = world.logs("RevenueRouter", "Distributed", assetId=bytes.fromhex(lab.asset_id[2:]))[-1]["args"]
    assert (kept["fee"], kept["payeeAmount"]) == (earned // 100, net - royalty - shared)
    assert kept["payee"] == world.client("publisher").chain.wallet
    assert _pending(installation, lab.asset_id) == _pending(installation, lab.base_id) == 0
    eventually(lambda: books.reconciled(world), "receipts, ledger and chain agree", 40)
