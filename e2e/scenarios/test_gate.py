"""A regulated asset: its shares reach only who has credentials, as long as they hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from licet_sdk.chain import Chain
from licet_sdk.errors import ChainError
from licet_sdk.gate import Gate, HolderTerms, RuleSet
from licet_sdk.shares import NOBODY, ONE_SHARE, Issue, Shares, issue

from e2e.demo import books
from e2e.observe import eventually
from e2e.scenarios.conftest import FUNDS, Installation

SUPPLY = 1000 * ONE_SHARE
CLASS, GERMANY = 2, 276
LONG_S, SHORT_S = 86_400, 8


@dataclass(frozen=True, slots=True)
class Regulated:
    """An asset of the publisher's, its rules as each of their keepers has them, and who holds nothing yet."""

    owner: Gate
    issuer: Gate
    officer: Gate
    newcomers: Gate
    shares: Shares
    newcomer: Shares

    def terms(self, lasts_s: int) -> HolderTerms:
        """A credential from the chain's time on."""
        return HolderTerms(CLASS, GERMANY, self.now() + lasts_s)

    def now(self) -> int:
        """The chain's time."""
        return int(self.shares.chain.w3.eth.get_block("latest")["timestamp"])


@pytest.fixture(scope="module")
def regulated(installation: Installation, wallets: Iterator[int]) -> Regulated:
    world = installation.world
    names = [f"buyer-{next(wallets)}" for _ in range(3)]
    for name in names:
        books.fund(world, world.actor(name).address, FUNDS)
    issuer, officer, newcomer = (world.client(name) for name in names)
    chain = world.client("publisher").chain
    story = bytes.fromhex(installation.notes["asset_id"].removeprefix("0x"))
    namespace = str(chain.call("AssetRegistry", "slugOf", story)).split("/")[0]
    asset_id = chain.find_or_register(f"{namespace}/regulated")
    owner = Gate(chain, asset_id)
    owner.regulate(RuleSet((CLASS,), (GERMANY,), (issuer.chain.wallet,), officer.chain.wallet))
    now = int(chain.w3.eth.get_block("latest")["timestamp"])
    issuer.gate(asset_id).enrol(chain.wallet, HolderTerms(CLASS, GERMANY, now + LONG_S))
    with pytest.raises(ChainError) as outside:
        _issue(chain, asset_id, NOBODY)
    assert outside.value.code == "ComplianceGate_GateRequired"
    shares = _issue(chain, asset_id, owner.address)
    return Regulated(
        owner,
        issuer.gate(asset_id),
        officer.gate(asset_id),
        newcomer.gate(asset_id),
        shares,
        newcomer.shares(asset_id),
    )


def _issue(chain: Chain, asset_id: str, gate: str) -> Shares:
    wait_s = int(chain.call("UsageEscrow", "exitDelay"))
    terms = Issue(
        name="Regulated shares",
        symbol="REG",
        allocations={chain.wallet: SUPPLY},
        delay_s=wait_s,
        steward=chain.wallet,
        gate=gate,
    )
    return issue(chain, asset_id, terms)


def _refused(shares: Shares, to: str) -> str:
    with pytest.raises(ChainError) as refused:
        shares.transfer(to, ONE_SHARE)
    return refused.value.code


def test_shares_reach_only_who_was_enrolled(regulated: Regulated) -> None:
    shares, account = regulated.shares, regulated.newcomer.chain.wallet
    assert _refused(shares, account) == "ERC7943CannotReceive"
    # The issuer signs, and the holder brings it.
    signed = regulated.issuer.sign(account, regulated.terms(LONG_S))
    regulated.newcomers.enrol_signed(signed)
    shares.transfer(account, 2 * ONE_SHARE)
    assert regulated.newcomer.balance() == 2 * ONE_SHARE


def test_a_frozen_holder_neither_sends_nor_receives(regulated: Regulated) -> None:
    shares, newcomer = regulated.shares, regulated.newcomer
    account, publisher = newcomer.chain.wallet, shares.chain.wallet
    regulated.officer.freeze(account)
    assert _refused(shares, account) == "ERC7943CannotReceive"
    assert _refused(newcomer, publisher) == "ERC7943CannotSend"
    regulated.officer.freeze(account, frozen=False)
    newcomer.transfer(publisher, ONE_SHARE)
    assert newcomer.balance() == ONE_SHARE


def test_an_expired_holder_keeps_its_shares_and_receives_no_more(regulated: Regulated) -> None:
    shares, newcomer = regulated.shares, regulated.newcomer
    account, publisher = newcomer.chain.wallet, shares.chain.wallet
    terms = regulated.terms(SHORT_S)
    regulated.issuer.enrol(account, terms)
    assert regulated.owner.standing(account).expires_at == terms.expires_at
    eventually(lambda: regulated.now() >= terms.expires_at, "the credential has ended")
    assert _refused(shares, account) == "ERC7943CannotReceive"
    assert newcomer.balance() == ONE_SHARE
    newcomer.transfer(publisher, ONE_SHARE)
    assert shares.balance() == SUPPLY
