"""Shares on a real chain with the real contracts: issued, paid, and decided with."""

from __future__ import annotations

from typing import Any

import pytest
from licet_sdk.chain import Chain, PlanOffer
from licet_sdk.errors import ChainError
from licet_sdk.shares import AGAINST, ONE_SHARE, Issue, Shares, issue
from web3.types import RPCEndpoint

PUBLISHER, BUYER = 2, 3
DIGEST = "0x" + "ab" * 32
PRICE = 5_000_000
SUPPLY = 1000 * ONE_SHARE


def _wait(chain: Chain, seconds: int) -> None:
    chain.w3.provider.make_request(RPCEndpoint("evm_increaseTime"), [seconds])
    chain.w3.provider.make_request(RPCEndpoint("evm_mine"), [])


def _issue(publisher: Chain, buyer: Chain) -> tuple[str, int, Shares]:
    asset_id, _ = publisher.register_asset("acme/tumour-risk")
    offer = PlanOffer(PRICE, 86_400, 10, 1, "request", server=publisher.wallet, terms_digest=DIGEST)
    plan_id, _ = publisher.create_plan(asset_id, offer)
    wait_s = int(publisher.call("UsageEscrow", "exitDelay"))
    terms = Issue(
        name="Tumour risk",
        symbol="RISK",
        allocations={publisher.wallet: SUPPLY * 6 // 10, buyer.wallet: SUPPLY * 4 // 10},
        delay_s=wait_s,
        votes=True,
        voting_period_s=wait_s,
    )
    return asset_id, plan_id, issue(publisher, asset_id, terms)


async def test_holders_are_paid_and_decide(wallet: Any) -> None:
    publisher, buyer = wallet(PUBLISHER), wallet(BUYER)
    asset_id, plan_id, shares = _issue(publisher, buyer)
    theirs = Shares(buyer, asset_id)
    owner = publisher.call("AssetRegistry", "assetOwner", bytes.fromhex(asset_id[2:]))
    assert owner == shares.chain.addresses["AssetTimelock"]
    buyer.send("TestUSD", "mint", buyer.wallet, PRICE)
    buyer.buy(plan_id)
    came = shares.collect()
    assert came == PRICE - PRICE // 100
    _wait(publisher, 2)
    assert theirs.claim() == came * 4 // 10
    assert shares.claim() == came * 6 // 10
    with pytest.raises(ChainError) as again:
        shares.claim()
    assert again.value.code == "Shares_NothingToClaim"

    shares.delegate()
    theirs.delegate()
    assert (shares.votes(), theirs.votes()) == (SUPPLY * 6 // 10, SUPPLY * 4 // 10)
    wait_s = int(publisher.call("UsageEscrow", "exitDelay"))
    _wait(publisher, 1)
    refused = theirs.propose("PlanBook", "closePlan", plan_id, description="close it")
    passed = shares.propose("PlanBook", "closePlan", plan_id, description="close it, says the majority")
    _wait(publisher, 2)
    shares.vote(refused, AGAINST)
    shares.vote(passed)
    theirs.vote(refused)
    _wait(publisher, wait_s + 1)
    with pytest.raises(ChainError) as defeated:
        theirs.queue(refused)
    assert defeated.value.code == "GovernorUnexpectedProposalState"
    shares.queue(passed)
    with pytest.raises(ChainError) as early:
        shares.execute(passed)
    assert early.value.code == "TimelockUnexpectedOperationState"
    _wait(publisher, wait_s)
    theirs.execute(passed)
    assert not publisher.call("PlanBook", "isOpen", plan_id)


async def test_an_asset_without_shares_has_none(wallet: Any) -> None:
    publisher = wallet(PUBLISHER)
    asset_id, _ = publisher.register_asset("acme/tumour-risk")
    with pytest.raises(ChainError) as unknown:
        Shares(publisher, asset_id)
    assert unknown.value.code == "shares_unknown"
    with pytest.raises(ChainError) as refused:
        issue(publisher, asset_id, Issue("None", "NONE", {publisher.wallet: SUPPLY}, delay_s=1))
    assert refused.value.code == "SharesFactory_InvalidSteward"
