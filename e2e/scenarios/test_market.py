"""Orders on the market: who buys a license calls with it, and who sold it no longer does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from licet_sdk.errors import ChainError
from licet_sdk.market import Market, SignedOrder

from e2e.demo import books, calls
from e2e.observe import eventually
from e2e.scenarios.conftest import FUNDS, Buyer, Installation

PRICE = 3_000_001
SOLD = "license_transferred"


@pytest.fixture(scope="module")
def holder(make_buyer: Callable[..., Buyer]) -> Buyer:
    """Somebody with a license and a key."""
    return make_buyer()


@pytest.fixture(scope="module")
def newcomer(installation: Installation, wallets: Iterator[int]) -> str:
    """Somebody with money and a key, and no license."""
    world, name = installation.world, f"buyer-{next(wallets)}"
    books.fund(world, world.actor(name).address, FUNDS)
    calls.make_key(world, installation.notes, name)
    return name


def _market(installation: Installation, name: str) -> Market:
    return installation.world.client(name).market


def _answers(installation: Installation, name: str) -> None:
    eventually(lambda: not calls.refusal_code(installation.world, installation.notes, name), f"{name} calls")


def _refused(installation: Installation, name: str) -> None:
    calls.wait_refused(installation.world, installation.notes, name, SOLD)


def _filled(installation: Installation, name: str, signed: SignedOrder) -> dict[str, int]:
    """What the chain says of a fill, after money and license have gone where it says."""
    chain = installation.world.chain
    maker, taker = signed.order.maker, installation.world.actor(name).address
    before = chain.balance(maker) + chain.balance(taker)
    event = dict(_market(installation, name).fill(signed).events["OrderFilled"])
    buyer = taker if signed.order.side == 0 else maker
    assert chain.call("License", "ownerOf", signed.order.tokenId) == buyer
    assert before - chain.balance(maker) - chain.balance(taker) == event["fee"] == event["price"] // 100
    assert chain.balance(chain.addresses["Market"]) == 0
    return event


def test_an_order_moves_the_right_to_call(installation: Installation, holder: Buyer, newcomer: str) -> None:
    world, notes = installation.world, installation.notes
    _answers(installation, holder.name)
    assert calls.refusal_code(world, notes, newcomer) == "license_missing"
    market = _market(installation, holder.name)
    signed = market.sign(market.ask("License", holder.license_id, price=PRICE))
    assert _filled(installation, newcomer, signed)["price"] == PRICE
    _refused(installation, holder.name)
    _answers(installation, newcomer)
    with pytest.raises(ChainError) as again:
        _market(installation, newcomer).fill(signed)
    assert again.value.code == "Market_AmountAboveRest"


def test_an_offer_is_accepted_by_the_holder(installation: Installation, holder: Buyer, newcomer: str) -> None:
    market = _market(installation, holder.name)
    signed = market.sign(market.offer("License", holder.license_id, price=PRICE))
    assert _filled(installation, newcomer, signed)["price"] == PRICE
    _refused(installation, newcomer)
    _answers(installation, holder.name)


def test_a_dutch_sale_costs_less_from_second_to_second(
    installation: Installation, holder: Buyer, newcomer: str
) -> None:
    market = _market(installation, holder.name)
    # The line began some seconds ago, by which makers allow for clocks.
    ask = market.ask("License", holder.license_id, price=100 * PRICE, end_price=0, lasts_s=600)
    event = _filled(installation, newcomer, market.sign(ask))
    assert 80 * PRICE < event["price"] < 100 * PRICE
    _refused(installation, holder.name)
    _answers(installation, newcomer)


def test_a_cancelled_order_and_one_for_another_state_are_not_filled(
    installation: Installation, holder: Buyer, newcomer: str
) -> None:
    """The newcomer holds the license by now."""
    market = _market(installation, newcomer)
    cancelled = market.sign(market.ask("License", holder.license_id, price=PRICE))
    stale = market.sign(market.ask("License", holder.license_id, price=PRICE))
    market.cancel(cancelled.order.nonce)
    with pytest.raises(ChainError) as ended:
        _market(installation, holder.name).fill(cancelled)
    assert ended.value.code == "Market_NonceUsed"
    client = installation.world.client(newcomer)
    client.chain.approve("LicenseSale", FUNDS)
    client.chain.send("LicenseSale", "renew", holder.license_id, FUNDS)
    with pytest.raises(ChainError) as refused:
        _market(installation, holder.name).fill(stale)
    assert refused.value.code == "Market_StateChanged"
    market.cancel_all()
    with pytest.raises(ChainError) as over:
        _market(installation, holder.name).fill(stale)
    assert over.value.code == "Market_EpochOver"
