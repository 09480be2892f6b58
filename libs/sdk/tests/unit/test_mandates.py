"""What a mandate's terms are checked for before the chain is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from licet_schemas import eip712
from licet_sdk.chain import Chain
from licet_sdk.config import Config
from licet_sdk.errors import ConfigError
from licet_sdk.mandates import MONTH_S, Bounds, Mandates, WindowUse

KEY = "0x" + "11" * 32
OPERATOR = "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955"
ADDRESS = "0x" + "22" * 20


@pytest.fixture
def mandates(tmp_path: Path) -> Any:
    chains = tmp_path / "chains.json"
    chains.write_text(
        '{"chains": [{"chain_id": 31337, "rpc_url": "http://127.0.0.1:1", '
        f'"contracts": {{"UsageEscrow": "{ADDRESS}", "TestUSD": "{ADDRESS}"}}}}]}}'
    )
    chain = Chain(Config(chains_file=str(chains), private_key=KEY))
    yield Mandates(chain)
    chain.close()


def test_the_signature_is_over_the_id(mandates: Mandates) -> None:
    mandate = mandates.draft(Bounds(OPERATOR, 1, 2, 1, 3, valid_from=7, assets=["0x" + "77" * 32]))
    digest = bytes.fromhex(mandates.mandate_id(mandate)[2:])
    signer = eip712.recover(digest, mandates.sign(mandate))
    assert signer.lower() == Account.from_key(KEY).address.lower()
    assert mandate.valid_until == 7 + MONTH_S


def test_the_grace_is_a_window_at_most_and_nonces_differ(mandates: Mandates) -> None:
    bounds = Bounds(OPERATOR, 1, 2, 1, 3, window_length=60, grace=3600, valid_from=7)
    first, second = mandates.draft(bounds), mandates.draft(bounds)
    assert first.grace == 60
    assert first.nonce != second.nonce


@pytest.mark.parametrize("operator", ["", "0x12", OPERATOR.replace("dC", "Dc")])
def test_an_operator_is_an_address(mandates: Mandates, operator: str) -> None:
    with pytest.raises(ConfigError):
        mandates.draft(Bounds(operator, 1, 2, 1, 3, valid_from=7))


@pytest.mark.parametrize("text", ["", "0x77", "77" * 32, "0x" + "7g" * 32])
def test_an_id_has_64_digits(mandates: Mandates, text: str) -> None:
    with pytest.raises(ConfigError):
        mandates.revoke(text)
    with pytest.raises(ConfigError):
        mandates.draft(Bounds(OPERATOR, 1, 2, 1, 3, valid_from=7, assets=[text]))


def test_only_windows_that_were_settled_are_shown_oldest_first(
    mandates: Mandates, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = (b"\x01" * 32, 10, 8, 7, 99, 60, 3, 30, True, False, 1)
    answers = {"mandateOf": state, "mandateUseOf": [(6, 2, 20), (5, 1, 10)]}
    monkeypatch.setattr(Chain, "call", lambda _self, _contract, name, *_: answers[name])
    shown = mandates.show("0x" + "77" * 32)
    assert (shown.deposit_id, shown.remaining, shown.grace) == ("0x" + "01" * 32, 8, 30)
    assert shown.uses == (WindowUse(5, 1, 10), WindowUse(6, 2, 20))
    answers["mandateUseOf"] = [(0, 0, 0), (5, 1, 10)]
    assert mandates.show("0x" + "77" * 32).uses == (WindowUse(5, 1, 10),)
