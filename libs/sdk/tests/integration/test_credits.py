"""Prepaid units on a real chain with the real contracts: sold, locked, taken out again, and ended."""

from __future__ import annotations

import json
from typing import Any

import pytest
from eth_utils.address import to_checksum_address
from licet_kit.testing.anvil import dev_account
from licet_sdk.chain import Chain, PlanOffer
from licet_sdk.cli.main import main
from licet_sdk.credits import Credits
from licet_sdk.errors import ChainError, ConfigError
from licet_sdk.exits import Exits
from licet_sdk.mandates import Mandates

PUBLISHER, BUYER, OPERATOR = 2, 3, 4
DAY_S = 86_400
OFFER = PlanOffer(
    price=1,
    period_s=DAY_S,
    included_units=1,
    unit_price=5,
    metering_rule="request",
    terms_digest="0x" + "01" * 32,
)


def _now(chain: Chain) -> int:
    return int(chain.w3.eth.get_block("latest")["timestamp"])


def _serving(operator: Chain) -> Chain:
    key, begin = to_checksum_address(dev_account(9).address), _now(operator)
    operator.send("UsageEscrow", "registerOperator", key, begin, begin + DAY_S)
    return operator


def _plan(publisher: Chain, operator: Chain) -> int:
    asset_id, _ = publisher.register_asset("acme/tumour-risk")
    offer = PlanOffer(
        **{name: getattr(OFFER, name) for name in OFFER.__slots__} | {"server": operator.wallet}
    )
    return publisher.create_plan(asset_id, offer)[0]


async def test_units_are_sold_locked_taken_out_and_ended(wallet: Any) -> None:
    publisher, buyer, operator = wallet(PUBLISHER), wallet(BUYER), _serving(wallet(OPERATOR))
    plan_id, end = _plan(publisher, operator), _now(publisher) + DAY_S
    token = Credits(publisher).open(plan_id, unit_price=7, supply=100, expires_at=end, transferable=False)
    units = Credits(buyer)
    buyer.send("TestUSD", "mint", buyer.wallet, 1_000)
    assert units.buy(token, 40)[0] == 280
    series = units.show(token)
    assert (series.plan_id, series.unit_price, series.supply, series.expires_at) == (plan_id, 7, 100, end)
    assert (series.issued, series.outstanding, series.balance, series.transferable) == (40, 40, 40, False)
    assert Credits(operator).accept(token).events["SettlerCapSet"]["cap"] == 100
    with pytest.raises(ChainError) as dear:
        units.buy(token, 61)
    assert dear.value.code == "Credits_SoldOut"

    deposit_id, _ = units.lock(token, 30)
    exits = Exits(buyer)
    assert exits.token_of(deposit_id) == token
    assert exits.is_units(token)
    assert not exits.is_units(to_checksum_address(buyer.addresses["TestUSD"]))
    asked = exits.request(deposit_id, 10)
    with pytest.raises(ChainError) as early:
        exits.withdraw(asked.exit_id)
    assert early.value.code == "UsageEscrow_ExitLocked"
    with pytest.raises(ChainError) as soon:
        Credits(publisher).expire(token, [buyer.wallet])
    assert soon.value.code == "Credits_NotExpired"
    buyer.w3.provider.make_request("evm_increaseTime", [4 * DAY_S])
    buyer.w3.provider.make_request("evm_mine", [])
    assert exits.withdraw(asked.exit_id)[:2] == (10, token)
    assert Credits(publisher).expire(token, [buyer.wallet, publisher.wallet]) == 20 * 7
    assert units.show(token).outstanding == 20


async def test_what_is_none_says_so(wallet: Any) -> None:
    buyer = wallet(BUYER)
    with pytest.raises(ChainError) as unknown:
        Credits(buyer).show(buyer.addresses["TestUSD"])
    assert unknown.value.code == "Credits_UnknownSeries"
    with pytest.raises(ChainError) as nothing:
        Exits(buyer).token_of("0x" + "11" * 32)
    assert nothing.value.code == "deposit_unknown"
    with pytest.raises(ConfigError):
        Exits(buyer).token_of("0xzz")


async def test_an_operator_is_kept_to_mandates_and_let_go_again(wallet: Any) -> None:
    payer, operator = wallet(BUYER), _serving(wallet(OPERATOR))
    mandates = Mandates(payer)
    until = mandates.only(operator.wallet)
    assert until <= _now(payer)  # nothing was deposited yet, so it holds at once
    assert mandates.only(operator.wallet, on=False) == 0


async def test_the_command_sells_and_locks_units(
    wallet: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    publisher, buyer, operator = wallet(PUBLISHER), wallet(BUYER), _serving(wallet(OPERATOR))
    plan_id = _plan(publisher, operator)
    buyer.send("TestUSD", "mint", buyer.wallet, 1_000)
    monkeypatch.setenv("LICET_CHAINS_FILE", str(wallet.chains_file))

    def licet(who: int, *args: str) -> Any:
        monkeypatch.setenv("LICET_PRIVATE_KEY", wallet.key(who))
        monkeypatch.setattr("sys.argv", ["licet", "--json", *args])
        with pytest.raises(SystemExit) as left:
            main()
        printed = capsys.readouterr()
        assert not left.value.code, printed.err
        return json.loads(printed.out)

    terms = ("--unit-price", "0.000007", "--supply", "50", "--until", str(_now(publisher) + DAY_S))
    token = licet(PUBLISHER, "credits", "open", str(plan_id), *terms)["token"]
    assert licet(OPERATOR, "credits", "accept", token)["units"] == 50
    assert licet(BUYER, "credits", "buy", token, "20")["price"] == "0.00014"
    locked = licet(BUYER, "credits", "lock", token, "15")
    assert licet(BUYER, "credits", "show", token)["balance"] == 5
    left = licet(BUYER, "exit", locked["deposit_id"], "6")
    buyer.w3.provider.make_request("evm_increaseTime", [4 * DAY_S])
    buyer.w3.provider.make_request("evm_mine", [])
    assert licet(BUYER, "withdraw", str(left["exit"]))["amount"] == "6"
    assert licet(PUBLISHER, "credits", "expire", token, buyer.wallet)["revenue"] == "0.000077"
    assert licet(BUYER, "mandate", "only", operator.wallet)["mandates_only"]
