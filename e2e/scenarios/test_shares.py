"""Shares of an asset: who buys them earns with its revenue and decides about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from licet_sdk.errors import ChainError
from licet_sdk.market import Market
from licet_sdk.shares import FOR, ONE_SHARE, Issue, Motion, Shares, issue

from e2e.demo import books
from e2e.observe import eventually
from e2e.scenarios.conftest import FUNDS, Buyer, Installation, pass_time

SUPPLY = 1000 * ONE_SHARE
BOUGHT = 400 * ONE_SHARE
PRICE = 7_000_001


@dataclass(frozen=True, slots=True)
class Holders:
    """The publisher, who issued the shares of the story's model, and somebody who buys some."""

    publisher: Shares
    buyer_name: str


@pytest.fixture(scope="module")
def holders(installation: Installation, wallets: Iterator[int]) -> Holders:
    world, name = installation.world, f"buyer-{next(wallets)}"
    books.fund(world, world.actor(name).address, FUNDS)
    chain = world.client("publisher").chain
    wait_s = int(chain.call("UsageEscrow", "exitDelay"))
    terms = Issue(
        name="Shares of the story",
        symbol="STORY",
        allocations={chain.wallet: SUPPLY},
        delay_s=wait_s,
        votes=True,
        voting_period_s=wait_s,
    )
    return Holders(issue(chain, installation.notes["asset_id"], terms), name)


def _buyers(installation: Installation, holders: Holders) -> Shares:
    return installation.world.client(holders.buyer_name).shares(installation.notes["asset_id"])


def test_an_asset_turned_into_shares_belongs_to_its_timelock(
    installation: Installation, holders: Holders
) -> None:
    shares, asset_id = holders.publisher, installation.notes["asset_id"]
    timelock = shares.chain.addresses["AssetTimelock"]
    query = "select owner from asset where asset_id = $1"
    eventually(
        lambda: installation.world.rows("indexer", query, asset_id)[0]["owner"].lower() == timelock.lower(),
        "the mirror names the timelock as owner",
    )
    assert shares.balance() == SUPPLY
    with pytest.raises(ChainError) as refused:
        issue(shares.chain, asset_id, Issue("Again", "TWO", {shares.chain.wallet: SUPPLY}, delay_s=1))
    assert refused.value.code in {"ERC721InvalidApprover", "SharesFactory_NotOwner"}


def test_shares_are_bought_on_the_market(installation: Installation, holders: Holders) -> None:
    seller, buyer = holders.publisher, _buyers(installation, holders)
    market = Market(seller.chain)
    signed = market.sign(market.ask_units("Shares", BOUGHT, price=PRICE))
    before = seller.chain.balance()
    Market(buyer.chain).fill(signed)
    assert (seller.balance(), buyer.balance()) == (SUPPLY - BOUGHT, BOUGHT)
    assert seller.chain.balance() - before == PRICE - PRICE // 100


def test_holders_share_what_the_asset_earns(
    installation: Installation, holders: Holders, make_buyer: Callable[..., Buyer]
) -> None:
    make_buyer()
    world = installation.world
    seller, buyer = holders.publisher, _buyers(installation, holders)
    came = seller.collect()
    collected = world.logs("RevenueRouter", "Claimed", account=seller.chain.addresses["Shares"])[-1]
    assert collected["args"]["amount"] == came
    eventually(lambda: books.holds_claim(world, collected), "the ledger has what the shares were paid")
    eventually(lambda: books.reconciled(world), "receipts, ledger and chain agree", 40)
    eventually(lambda: buyer.claimable() > 0, "a second has passed")
    assert 0 <= came * 4 // 10 - buyer.claimable() <= 1
    earned = buyer.claimable()
    buyer.transfer(seller.chain.wallet, ONE_SHARE)
    assert buyer.claimable() == earned
    before = buyer.chain.balance()
    assert buyer.claim() == earned == buyer.chain.balance() - before
    assert came - 2 <= earned + seller.claim() <= came
    with pytest.raises(ChainError) as again:
        buyer.claim()
    assert again.value.code == "Shares_NothingToClaim"


def test_a_vote_of_the_holders_is_executed(installation: Installation, holders: Holders) -> None:
    seller, buyer = holders.publisher, _buyers(installation, holders)
    seller.delegate()
    buyer.delegate()
    wait_s = int(seller.chain.call("UsageEscrow", "exitDelay"))
    plan_id = int(installation.notes["plan"])
    # A proposer needs votes of a second ago.
    pass_time(installation.world, 1)
    motion: Motion = buyer.propose("PlanBook", "closePlan", plan_id, description="close the story's plan")
    pass_time(installation.world, 2)
    seller.vote(motion, FOR)
    with pytest.raises(ChainError) as early:
        buyer.queue(motion)
    assert early.value.code == "GovernorUnexpectedProposalState"
    pass_time(installation.world, wait_s)
    buyer.queue(motion)
    with pytest.raises(ChainError) as waiting:
        buyer.execute(motion)
    assert waiting.value.code == "TimelockUnexpectedOperationState"
    pass_time(installation.world, wait_s)
    buyer.execute(motion)
    assert not seller.chain.call("PlanBook", "isOpen", plan_id)
