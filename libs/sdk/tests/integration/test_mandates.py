"""Mandates on a real chain with the real contracts: signed, opened by the payer or another, read and revoked."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from eth_utils.address import to_checksum_address
from licet_kit.testing.anvil import dev_account
from licet_sdk.chain import Chain
from licet_sdk.cli.main import main
from licet_sdk.errors import ChainError, ConfigError
from licet_sdk.mandates import HOUR_S, MONTH_S, Bounds, Mandates

PAYER, OPERATOR = 3, 4
LOCKED = 5_000_000


def _serving(operator: Chain) -> Chain:
    """The operator, registered with a receipt key of its own."""
    begin = int(operator.w3.eth.get_block("latest")["timestamp"])
    key = to_checksum_address(dev_account(9).address)
    operator.send("UsageEscrow", "registerOperator", key, begin, begin + MONTH_S)
    return operator


def _bounds(operator: Chain, *assets: str) -> Bounds:
    return Bounds(operator.wallet, 1_000_000, 4_000_000, 200_000, 50, grace=HOUR_S, assets=assets)


async def test_a_mandate_is_opened_read_and_revoked(wallet: Any) -> None:
    payer, operator = wallet(PAYER), _serving(wallet(OPERATOR))
    mandates = Mandates(payer)
    asset_id, _ = payer.register_asset("acme/tumour-risk")
    mandate = mandates.draft(_bounds(operator, asset_id))
    with pytest.raises(ChainError) as early:
        mandates.open(mandate)
    assert early.value.code == "UsageEscrow_UnknownDeposit"
    payer.send("TestUSD", "mint", payer.wallet, LOCKED)
    deposit_id, _ = payer.deposit(operator.wallet, LOCKED)

    mandate_id, _ = mandates.open(mandate)
    assert mandate_id == mandates.mandate_id(mandate)
    state = mandates.show(mandate_id)
    assert (state.deposit_id, state.window_amount, state.remaining) == (deposit_id, 1_000_000, 4_000_000)
    assert (state.window_records, state.grace, state.in_flight_cap) == (50, HOUR_S, 200_000)
    assert (state.valid_from, state.valid_until) == (mandate.valid_from, mandate.valid_from + MONTH_S)
    assert (state.any_asset, state.revoked, state.uses) == (False, False, ())
    assert mandates.covers(mandate_id, asset_id)
    assert not mandates.covers(mandate_id, "0x" + "77" * 32)

    with pytest.raises(ChainError) as foreign:
        Mandates(operator).revoke(mandate_id)
    assert foreign.value.code == "UsageEscrow_NotMandatePayer"
    revoked = mandates.revoke(mandate_id)
    assert (revoked.remaining, revoked.settle_until) == (200_000, revoked.revoked_at + HOUR_S)
    after = mandates.show(mandate_id)
    assert (after.revoked, after.remaining, after.valid_until) == (True, 200_000, revoked.revoked_at)
    with pytest.raises(ChainError) as twice:
        mandates.revoke(mandate_id)
    assert twice.value.code == "UsageEscrow_MandateIsRevoked"


async def test_another_opens_it_with_the_signature_of_exactly_these_terms(wallet: Any) -> None:
    payer, operator = wallet(PAYER), _serving(wallet(OPERATOR))
    payer.send("TestUSD", "mint", payer.wallet, LOCKED)
    payer.deposit(operator.wallet, LOCKED)
    theirs = Mandates(operator)
    used = "0x" + "77" * 32
    mandate = Mandates(payer).draft(_bounds(operator, used))
    signature = Mandates(payer).sign(mandate)
    with pytest.raises(ConfigError):
        theirs.sign(mandate)
    with pytest.raises(ChainError) as unsigned:
        theirs.open(mandate)
    assert unsigned.value.code == "UsageEscrow_InvalidSignature"
    with pytest.raises(ChainError) as raised:
        theirs.open(replace(mandate, total_amount=LOCKED), signature)
    assert raised.value.code == "UsageEscrow_InvalidSignature"
    mandate_id, _ = theirs.open(mandate, signature)
    assert theirs.covers(mandate_id, used)
    anything, _ = Mandates(payer).open(Mandates(payer).draft(_bounds(operator)))
    assert theirs.show(anything).any_asset

    other = Mandates(payer).draft(_bounds(operator))
    Mandates(payer).cancel_nonce(other.nonce)
    with pytest.raises(ChainError) as cancelled:
        theirs.open(other, Mandates(payer).sign(other))
    assert cancelled.value.code == "UsageEscrow_NonceUsed"


async def test_what_was_never_opened_is_unknown(wallet: Any) -> None:
    mandates = Mandates(wallet(PAYER))
    with pytest.raises(ChainError) as unknown:
        mandates.show("0x" + "77" * 32)
    assert unknown.value.code == "mandate_unknown"
    with pytest.raises(ConfigError):
        mandates.show("0x77")


async def test_the_command_opens_shows_and_revokes(
    wallet: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    payer, operator = wallet(PAYER), _serving(wallet(OPERATOR))
    payer.send("TestUSD", "mint", payer.wallet, LOCKED)
    payer.deposit(operator.wallet, LOCKED)
    payer.register_asset("acme/tumour-risk")
    monkeypatch.setenv("LICET_CHAINS_FILE", str(wallet.chains_file))
    monkeypatch.setenv("LICET_PRIVATE_KEY", wallet.key(PAYER))

    def licet(*args: str, status: int = 0) -> Any:
        monkeypatch.setattr("sys.argv", ["licet", "mandate", *args, "--json"])
        with pytest.raises(SystemExit) as left:
            main()
        printed = capsys.readouterr()
        assert left.value.code == status, printed
        return json.loads(printed.err if status else printed.out)

    terms = ["--amount", "1.5", "--total", "4", "--calls", "50", "--in-flight", "0.2", "--window", "60"]
    opened = licet("open", operator.wallet, *terms, "--asset", "acme/tumour-risk")["mandate"]
    shown = licet("show", opened)
    assert (shown["window_amount"], shown["remaining"], shown["in_flight_cap"]) == ("1.5", "4", "0.2")
    assert (shown["window_length"], shown["window_records"], shown["grace"]) == (60, 50, 60)
    assert (shown["any_asset"], shown["uses"]) == (False, [])
    assert licet("revoke", opened)["remaining"] == "0.2"
    assert licet("revoke", opened, status=5)["error"] == "UsageEscrow_MandateIsRevoked"
    assert licet("show", "0x77", status=2)["error"] == "invalid_value"
    assert licet("open", "0x12", *terms, status=2)["error"] == "invalid_value"
