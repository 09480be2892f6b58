"""An asset at home on one real chain is sold on another."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from licet_sdk.chain import Chain, PlanOffer
from licet_sdk.cli.main import main
from licet_sdk.client import Client
from licet_sdk.config import Config
from licet_sdk.errors import ChainError, ConfigError
from licet_sdk.mirrors import MAX_VALIDITY_S
from web3.types import RPCEndpoint

MNEMONIC = "test test test test test test test test test test test junk"
OPERATOR, PUBLISHER, BUYER, NEXT = range(1, 5)
AWAY = 31338
REPORTER_ROLE = 4
SLUG = "clinic/abroad"

Account.enable_unaudited_hdwallet_features()


def _key(index: int) -> str:
    return "0x" + bytes(Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}").key).hex()


@dataclass(frozen=True, slots=True)
class Two:
    """Two chains with the same contracts, and clients on both."""

    chains_file: Path
    clients: list[Client]

    def client(self, index: int) -> Client:
        made = Client(Config(chains_file=str(self.chains_file), private_key=_key(index)))
        self.clients.append(made)
        return made


@pytest.fixture
async def two(chain: Any, tmp_path: Path) -> Any:
    home, away = await chain(), await chain("--chain-id", str(AWAY))
    [first] = json.loads(home.chains_file.read_text())["chains"]
    [second] = json.loads(away.chains_file.read_text())["chains"]
    path = tmp_path / "two-chains.json"
    path.write_text(json.dumps({"chains": [first, second | {"chain_id": AWAY}]}))
    made = Two(path, [])
    _appoint(made.client(OPERATOR).chain_of(AWAY))
    yield made
    for client in made.clients:
        client.close()


def _appoint(reporter: Chain) -> None:
    """What the timelock could decide."""
    timelock = reporter.addresses["TimelockController"]
    for method, params in (
        ("anvil_impersonateAccount", [timelock]),
        ("anvil_setBalance", [timelock, hex(10**18)]),
    ):
        reporter.w3.provider.make_request(RPCEndpoint(method), params)
    grant = reporter.contract("AccessManager").functions.grantRole(REPORTER_ROLE, reporter.wallet, 0)
    sender = reporter.w3.to_checksum_address(timelock)
    reporter.w3.eth.wait_for_transaction_receipt(grant.transact({"from": sender}))


def _offer(server: str) -> PlanOffer:
    return PlanOffer(
        price=5_000_000,
        period_s=3600,
        included_units=10,
        unit_price=100,
        metering_rule="request",
        server=server,
        terms_digest="0x" + "ab" * 32,
    )


async def test_an_asset_is_sold_abroad_until_it_changes_hands(two: Two) -> None:
    operator, publisher, buyer, heir = (two.client(i) for i in (OPERATOR, PUBLISHER, BUYER, NEXT))
    asset_id, _ = publisher.chain.register_asset(SLUG)
    assert publisher.chain.addresses == publisher.chain_of(AWAY).addresses
    with pytest.raises(ChainError) as early:
        publisher.mirrors(AWAY).bind(publisher.mirrors(AWAY).sign(SLUG))
    assert early.value.code == "MirrorBook_NotReported"

    operator.mirrors(AWAY).report(SLUG)
    bound, _ = operator.mirrors(AWAY).bind(publisher.mirrors(AWAY).sign(SLUG))
    assert bound == asset_id
    away = publisher.chain_of(AWAY)
    plan_id, _ = away.create_plan(asset_id, _offer(operator.chain.wallet))
    shopper = buyer.chain_of(AWAY)
    shopper.send("TestUSD", "mint", shopper.wallet, 20_000_000)
    shopper.buy(plan_id)
    assert away.claim([asset_id])[0] == 4_950_000

    token_id = publisher.chain.call("AssetRegistry", "tokenIdOf", bytes.fromhex(asset_id[2:]))
    owner, to = publisher.chain.wallet, heir.chain.wallet
    publisher.chain.send("AssetRegistry", "transferFrom", owner, to, token_id)
    operator.mirrors(AWAY).report(SLUG)
    state = publisher.mirrors(AWAY).state(SLUG)
    assert (state.is_open, state.epoch, state.reported_epoch, state.reported_owner) == (False, 1, 2, to)
    with pytest.raises(ChainError) as closed:
        shopper.buy(plan_id)
    assert closed.value.code == "PlanBook_MirrorClosed"
    with pytest.raises(ChainError) as former:
        publisher.mirrors(AWAY).bind(publisher.mirrors(AWAY).sign(SLUG))
    assert former.value.code == "MirrorBook_NotReported"

    heir.mirrors(AWAY).bind(heir.mirrors(AWAY).sign(SLUG))
    shopper.buy(plan_id)
    assert heir.chain_of(AWAY).claim([asset_id])[0] == 4_950_000
    heir.mirrors(AWAY).cancel(SLUG)
    assert not heir.mirrors(AWAY).state(SLUG).is_open


async def test_a_derived_asset_brings_its_parents(two: Two) -> None:
    from licet_sdk.lineage import Parent  # noqa: PLC0415 - beside its only use

    operator, publisher = two.client(OPERATOR), two.client(PUBLISHER)
    publisher.chain.register_asset(SLUG)
    publisher.lineage.register("clinic/tuned", [Parent(SLUG, 500)])
    for slug in (SLUG, "clinic/tuned"):
        operator.mirrors(AWAY).report(slug)
    signed = publisher.mirrors(AWAY).sign("clinic/tuned")
    with pytest.raises(ChainError) as orphan:
        publisher.mirrors(AWAY).bind(signed)
    assert orphan.value.code == "MirrorBook_UnknownParent"
    publisher.mirrors(AWAY).bind(publisher.mirrors(AWAY).sign(SLUG))
    with pytest.raises(ChainError) as bare:
        publisher.mirrors(AWAY).bind(replace(signed, parents=()))
    assert bare.value.code == "MirrorBook_OtherLineage"
    publisher.mirrors(AWAY).bind(signed)


async def test_a_statement_ends_at_most_a_month_after_the_report(two: Two) -> None:
    operator, publisher = two.client(OPERATOR), two.client(PUBLISHER)
    publisher.chain.register_asset(SLUG)
    sent = operator.mirrors(AWAY).report(SLUG)
    reported_at = operator.chain_of(AWAY).w3.eth.get_block(sent.block_number)["timestamp"]
    signed = publisher.mirrors(AWAY).sign(SLUG, validity_s=365 * 86_400)
    assert signed.statement.valid_until == reported_at + MAX_VALIDITY_S
    publisher.mirrors(AWAY).bind(signed)


async def test_home_is_no_other_chain(two: Two) -> None:
    with pytest.raises(ChainError) as home:
        two.client(PUBLISHER).mirrors(31337)
    assert home.value.code == "chain_is_home"
    with pytest.raises(ConfigError):
        two.client(PUBLISHER).mirrors(5)


async def test_the_command_signs_and_binds(
    two: Two, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    two.client(PUBLISHER).chain.register_asset(SLUG)

    def licet(index: int, *args: str) -> dict[str, Any]:
        for name, value in {
            "LICET_CHAINS_FILE": str(two.chains_file),
            "LICET_PRIVATE_KEY": _key(index),
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("sys.argv", ["licet", "--json", *args, SLUG, "--chain", str(AWAY)])
        with pytest.raises(SystemExit) as left:
            main()
        assert not left.value.code, capsys.readouterr().err
        printed: dict[str, Any] = json.loads(capsys.readouterr().out)
        return printed

    assert licet(OPERATOR, "asset", "report")["epoch"] == 1
    bound = licet(PUBLISHER, "asset", "mirror", "--days", "3")
    assert (bound["chain_id"], bound["owner"]) == (AWAY, two.client(PUBLISHER).chain.wallet)
    assert two.client(PUBLISHER).mirrors(AWAY).state(SLUG).is_open
