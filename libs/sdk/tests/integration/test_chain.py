"""The wallet's side of the path on a real chain with the real contracts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from licet_sdk.chain import Chain, PlanOffer
from licet_sdk.config import Config
from licet_sdk.errors import ChainError, ConfigError, Unreachable

OPERATOR, PUBLISHER, BUYER, OTHER = range(1, 5)
DIGEST = "0x" + "ab" * 32


def offer(wallet: Any, **changes: Any) -> PlanOffer:
    terms = {
        "price": 5_000_000,
        "period_s": 3600,
        "included_units": 10,
        "unit_price": 100,
        "metering_rule": "request",
        "server": wallet(OPERATOR).wallet,
        "terms_digest": DIGEST,
    }
    return PlanOffer(**{**terms, **changes})


async def test_a_license_is_published_priced_and_bought(wallet: Any) -> None:
    publisher, buyer = wallet(PUBLISHER), wallet(BUYER)
    asset_id, _ = publisher.register_asset("clinic/risk")
    assert publisher.asset_id("clinic/risk") == asset_id
    publisher.publish_version(asset_id, DIGEST, "https://example.org/manifest")
    assert publisher.call("AssetRegistry", "activeVersion", bytes.fromhex(asset_id[2:])) == b"\xab" * 32
    plan_id, _ = publisher.create_plan(asset_id, offer(wallet))
    buyer.send("TestUSD", "mint", buyer.wallet, 8_000_000)
    token_id, sent = buyer.buy(plan_id)
    assert sent.events["LicensePurchased"]["price"] == 5_000_000
    assert buyer.call("License", "ownerOf", token_id) == buyer.wallet
    assert buyer.balance() == 3_000_000
    claimed, _ = publisher.claim([asset_id])
    assert claimed == 4_950_000, "the price less the protocol's one per cent"
    buyer.transfer_license(token_id, wallet(OTHER).wallet)
    assert buyer.call("License", "ownerOf", token_id) == wallet(OTHER).wallet


async def test_a_slug_is_registered_once_and_found_again(wallet: Any) -> None:
    publisher = wallet(PUBLISHER)
    with pytest.raises(ChainError) as caught:
        publisher.asset_id("clinic/risk")
    assert caught.value.code == "asset_unknown"
    asset_id = publisher.find_or_register("clinic/risk")
    assert publisher.find_or_register("clinic/risk") == asset_id == publisher.asset_id("clinic/risk")


async def test_a_contracts_refusal_names_its_reason_and_a_remedy(wallet: Any) -> None:
    publisher, buyer = wallet(PUBLISHER), wallet(BUYER)
    publisher.register_asset("clinic/risk")
    with pytest.raises(ChainError) as caught:
        publisher.register_asset("clinic/risk")
    assert caught.value.code == "AssetRegistry_SlugTaken"
    assert caught.value.remedy
    with pytest.raises(ChainError) as caught:
        publisher.register_asset("Not A Slug")
    assert caught.value.code == "AssetRegistry_InvalidSlug"
    with pytest.raises(ChainError) as caught:
        buyer.buy(99)
    assert caught.value.code == "PlanBook_UnknownPlan"


async def test_a_wallet_without_money_is_told_so(wallet: Any) -> None:
    publisher = wallet(PUBLISHER)
    asset_id, _ = publisher.register_asset("clinic/risk")
    plan_id, _ = publisher.create_plan(asset_id, offer(wallet))
    with pytest.raises(ChainError) as caught:
        wallet(BUYER).buy(plan_id)
    assert caught.value.code == "ERC20InsufficientBalance"


def test_a_chain_that_is_away_is_unreachable(tmp_path: Path) -> None:
    entry = {"chain_id": 1, "rpc_url": "http://127.0.0.1:9", "contracts": {"TestUSD": "0x" + "11" * 20}}
    path = tmp_path / "chains.json"
    path.write_text(json.dumps({"chains": [entry]}))
    with pytest.raises(Unreachable):
        Chain(Config(chains_file=str(path), private_key="0x" + "11" * 32)).balance()


async def test_an_address_with_a_typing_error_is_refused_before_anything_is_paid(wallet: Any) -> None:
    publisher, buyer = wallet(PUBLISHER), wallet(BUYER)
    asset_id, _ = publisher.register_asset("clinic/risk")
    plan_id, _ = publisher.create_plan(asset_id, offer(wallet))
    buyer.send("TestUSD", "mint", buyer.wallet, 20_000_000)
    good = wallet(OTHER).wallet
    last = "0" if good[-1] != "0" else "1"
    for wrong in (good[:-1] + last, good.swapcase().replace("0X", "0x"), good[:-1], "clinic"):
        with pytest.raises(ConfigError):
            buyer.buy(plan_id, wrong)
    assert buyer.balance() == 20_000_000
    for spelled in (good, good.lower(), "0x" + good[2:].upper()):
        token_id, _ = buyer.buy(plan_id, spelled)
        assert buyer.call("License", "ownerOf", token_id) == good


async def test_a_license_is_delegated_and_taken_back(wallet: Any) -> None:
    publisher, buyer, user = wallet(PUBLISHER), wallet(BUYER), wallet(OTHER).wallet
    asset_id, _ = publisher.register_asset("clinic/risk")
    plan_id, _ = publisher.create_plan(asset_id, offer(wallet))
    buyer.send("TestUSD", "mint", buyer.wallet, 5_000_000)
    token_id, _ = buyer.buy(plan_id)
    end = buyer.call("License", "endTime", token_id)
    sent = buyer.delegate_license(token_id, user, end)
    assert sent.events["UpdateUser"] == {"tokenId": token_id, "user": user, "expires": end}
    assert buyer.call("License", "userOf", token_id) == user
    buyer.end_delegation(token_id)
    assert int(buyer.call("License", "userOf", token_id), 16) == 0
    with pytest.raises(ChainError) as beyond:
        buyer.delegate_license(token_id, user, end + 1)
    assert beyond.value.code == "License_InvalidDelegation"
    assert beyond.value.remedy
    buyer.delegate_license(token_id, user, end, revocable=False)
    with pytest.raises(ChainError, match="License_Delegated"):
        buyer.end_delegation(token_id)


async def test_a_breach_is_announced_revoked_and_refunded(wallet: Any) -> None:
    publisher, buyer = wallet(PUBLISHER), wallet(BUYER)
    asset_id, _ = publisher.register_asset("clinic/risk")
    week, period = 7 * 86_400, 28 * 86_400
    terms = {"period_s": period, "breach_notice_s": week, "breach_grounds": DIGEST}
    plan_id, _ = publisher.create_plan(asset_id, offer(wallet, **terms))
    for chain in (publisher, buyer):
        chain.send("TestUSD", "mint", chain.wallet, 5_000_000)
    token_id, _ = buyer.buy(plan_id)
    with pytest.raises(ChainError, match="BreachBook_NotAnnounced"):
        publisher.revoke_license(token_id)
    effective_at = publisher.announce_breach(token_id, DIGEST)
    with pytest.raises(ChainError) as early:
        publisher.revoke_license(token_id)
    assert (early.value.code, bool(early.value.remedy)) == ("BreachBook_NoticeRuns", True)
    publisher.w3.provider.make_request("evm_setNextBlockTimestamp", [effective_at])
    publisher.w3.provider.make_request("evm_mine", [])
    refund = publisher.revoke_license(token_id)
    left = period - (
        buyer.call("License", "endTime", token_id) - buyer.call("License", "startTime", token_id)
    )
    assert refund == -(-5_000_000 * left // period)
    assert buyer.call("License", "isRevoked", token_id)
    assert buyer.claim_refund() == refund == buyer.balance()
    with pytest.raises(ChainError, match="License_Breached"):
        buyer.transfer_license(token_id, wallet(OTHER).wallet)


async def test_a_plan_has_a_trial_and_limits(wallet: Any) -> None:
    publisher, buyer, other = wallet(PUBLISHER), wallet(BUYER), wallet(OTHER)
    asset_id, _ = publisher.register_asset("clinic/risk")
    terms = {"supply": 1, "per_recipient": 2, "trial_period_s": 600, "trial_units": 3, "seats": 4}
    plan_id, _ = publisher.create_plan(asset_id, offer(wallet, **terms))
    for chain in (buyer, other):
        chain.send("TestUSD", "mint", chain.wallet, 5_000_000)
    token_id, sent = buyer.start_trial(plan_id)
    assert buyer.call("License", "endTime", token_id) - buyer.call("License", "startTime", token_id) == 600
    assert sent.events["LicensePurchased"]["trial"]
    with pytest.raises(ChainError) as again:
        buyer.start_trial(plan_id)
    assert (again.value.code, bool(again.value.remedy)) == ("PlanBook_TrialTaken", True)
    other.buy(plan_id)
    with pytest.raises(ChainError) as late:
        buyer.buy(plan_id)
    assert (late.value.code, bool(late.value.remedy)) == ("PlanBook_SoldOut", True)
