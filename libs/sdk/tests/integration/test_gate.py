"""A regulated asset on a real chain: no path leads its shares to who has no credentials."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from licet_sdk.chain import Chain
from licet_sdk.cli import main as cli
from licet_sdk.errors import ChainError, ConfigError
from licet_sdk.gate import EARN, HOLD, Gate, HolderTerms, RuleSet
from licet_sdk.shares import ONE_SHARE, Issue, Shares, issue

PUBLISHER, HOLDER, ISSUER, OFFICER = 2, 3, 4, 5
SUPPLY = 1000 * ONE_SHARE
CLASS, GERMANY = 2, 276
LONG = 86_400


def _terms(chain: Chain, lasts_s: int = LONG) -> HolderTerms:
    return HolderTerms(CLASS, GERMANY, int(chain.w3.eth.get_block("latest")["timestamp"]) + lasts_s)


def _issue(publisher: Chain, asset_id: str, gate: str) -> Shares:
    wait_s = int(publisher.call("UsageEscrow", "exitDelay"))
    terms = Issue(
        "Regulated", "REG", {publisher.wallet: SUPPLY}, delay_s=wait_s, steward=publisher.wallet, gate=gate
    )
    return issue(publisher, asset_id, terms)


async def test_shares_of_a_regulated_asset_reach_credentials_only(wallet: Any) -> None:
    publisher, holder, issuer, officer = (wallet(i) for i in (PUBLISHER, HOLDER, ISSUER, OFFICER))
    asset_id, _ = publisher.register_asset("acme/regulated")
    rules = Gate(publisher, asset_id)
    assert not rules.is_regulated()
    rules.regulate(RuleSet((CLASS,), (GERMANY, 250), (issuer.wallet,), officer.wallet))
    assert rules.is_regulated()
    Gate(issuer, asset_id).enrol(publisher.wallet, _terms(issuer))
    with pytest.raises(ChainError) as outside:
        _issue(publisher, asset_id, gate="0x" + "00" * 20)
    assert outside.value.code == "ComplianceGate_GateRequired"
    shares = _issue(publisher, asset_id, rules.address)
    with pytest.raises(ChainError) as unknown:
        shares.transfer(holder.wallet, ONE_SHARE)
    assert unknown.value.code == "ERC7943CannotReceive"

    signed = Gate(issuer, asset_id).sign(holder.wallet, _terms(issuer))
    theirs = Gate(holder, asset_id)
    theirs.enrol_signed(signed)
    with pytest.raises(ChainError) as again:
        theirs.enrol_signed(signed)
    assert again.value.code == "ComplianceGate_InvalidNonce"
    standing = theirs.standing()
    assert (standing.issuer, standing.holder_class, standing.jurisdiction) == (issuer.wallet, CLASS, GERMANY)
    assert (standing.may_receive, standing.may_vote, standing.may_be_paid) == (True, True, True)
    shares.transfer(holder.wallet, 3 * ONE_SHARE)
    assert shares.balance(holder.wallet) == 3 * ONE_SHARE

    keeper = Gate(officer, asset_id)
    keeper.freeze(holder.wallet)
    with pytest.raises(ChainError) as frozen:
        Shares(holder, asset_id).transfer(publisher.wallet, 1)
    assert frozen.value.code == "ERC7943CannotSend"
    keeper.force(holder.wallet, publisher.wallet, ONE_SHARE)
    keeper.freeze(holder.wallet, frozen=False)
    keeper.revoke(holder.wallet)
    assert not keeper.standing(holder.wallet).may_receive
    Shares(holder, asset_id).transfer(publisher.wallet, 2 * ONE_SHARE)
    assert shares.balance() == SUPPLY
    with pytest.raises(ChainError) as loosened:
        keeper.list_contract(publisher.addresses["Market"], HOLD | EARN)
    assert loosened.value.code == "ComplianceGate_NotAuthority"
    with pytest.raises(ConfigError):
        keeper.standing("acme")


async def test_the_commands_of_an_issuer_and_an_officer(
    wallet: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    publisher, holder = wallet(PUBLISHER), wallet(HOLDER)
    asset_id, _ = publisher.register_asset("acme/regulated")
    Gate(publisher, asset_id).regulate(RuleSet((CLASS,), (GERMANY,), (publisher.wallet,), publisher.wallet))
    monkeypatch.setenv("LICET_CHAINS_FILE", publisher._config.chains_file)
    monkeypatch.setenv("LICET_PRIVATE_KEY", publisher._config.private_key)

    def run(*args: str) -> str:
        monkeypatch.setattr(
            sys, "argv", ["licet", "--json", "gate", args[0], "acme/regulated", holder.wallet, *args[1:]]
        )
        with pytest.raises(SystemExit) as done:
            cli.main()
        assert done.value.code == 0
        return capsys.readouterr().out

    standing = Gate(publisher, asset_id).standing
    run("enrol", "--class", str(CLASS), "--jurisdiction", str(GERMANY))
    assert standing(holder.wallet).may_receive
    assert '"may_receive": true' in run("show")
    run("freeze")
    assert standing(holder.wallet).is_frozen
    run("freeze", "--lift")
    run("revoke")
    assert not standing(holder.wallet).may_receive
