"""Secrets are made once, for us alone, and certify what they say."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from licet_schemas import eip712

from infra.local.keyring import Keyring

ESCROW = "0x" + "ab" * 20


def test_secrets_are_readable_by_us_alone_and_stay(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path / "secrets")
    keyring.make()
    before = {path.name: path.read_text() for path in keyring.folder.iterdir()}

    keyring.make()

    assert {path.name: path.read_text() for path in keyring.folder.iterdir()} == before
    assert stat.S_IMODE(keyring.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in keyring.folder.iterdir()} == {0o600}


def test_two_profiles_share_the_chains_accounts_and_no_secret(tmp_path: Path) -> None:
    one, two = Keyring(tmp_path / "one"), Keyring(tmp_path / "two")
    one.make()
    two.make()

    same = {path.name for path in one.folder.iterdir() if path.read_text() == two.path(path.name).read_text()}

    assert same == {"deployer.key", "operator.key"}
    # The second account of anvil's mnemonic.
    assert one.address("operator.key") == "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"


def test_a_certificate_is_signed_by_the_receipt_key_for_each_chain(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path / "secrets")
    keyring.make()
    chains = tmp_path / "chains.json"
    entries = [{"chain_id": chain, "contracts": {"UsageEscrow": ESCROW}} for chain in (31337, 31338)]
    chains.write_text(json.dumps({"chains": entries}))

    keyring.certify("gateway-1", chains)

    certificates = json.loads(keyring.path("gateway-1.certificates").read_text())
    assert [entry["chain_id"] for entry in certificates] == [31337, 31338]
    for entry in certificates:
        assert entry["replica"] == keyring.address("gateway-1.key")
        certificate = eip712.ReplicaCertificate(
            entry["operator"], entry["replica"], entry["valid_from"], entry["valid_until"]
        )
        digest = eip712.certificate_digest(eip712.domain_separator(entry["chain_id"], ESCROW), certificate)
        signature = bytes.fromhex(entry["signature"].removeprefix("0x"))
        assert eip712.recover(digest, signature) == keyring.address("receipt.key")
