"""The deployment scripts, run as programs against chains of their own."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from licet_kit.testing.anvil import Anvil

from .deploying import (
    ANVIL,
    CODE_DIFFERS,
    DEPLOYER,
    EXIT_DELAY_S,
    OPERATOR,
    RECEIPT_KEY,
    SCRIPTS,
    STRANGER,
    SUPPLY,
    arguments_of,
    chains_in,
    contract_at,
    deploy_on,
    run_script,
    stated_in,
    w3_of,
)


async def test_two_chains_get_the_same_addresses_and_code(
    chain: Anvil, second_chain: Anvil, tmp_path: Path
) -> None:
    await deploy_on(chain, tmp_path)
    await deploy_on(second_chain, tmp_path, exit_delay_s=3600)
    chains = chains_in(tmp_path)
    assert set(chains) == {31337, 31338}
    contracts = chains[31337]["contracts"]
    assert contracts == chains[31338]["contracts"]
    for name, address in contracts.items():
        here = w3_of(chain).eth.get_code(to_checksum_address(address))
        there = w3_of(second_chain).eth.get_code(to_checksum_address(address))
        assert len(here) > 100
        assert (here == there) == (name not in CODE_DIFFERS), name


async def test_more_than_a_block_holds_is_deployed_block_by_block(tmp_path: Path) -> None:
    node = Anvil(ANVIL, block_time_s=1, flags=("--chain-id", "31337"))
    await node.start()
    try:
        await deploy_on(node, tmp_path)
        contracts = chains_in(tmp_path)[31337]["contracts"]
        assert all(w3_of(node).eth.get_code(to_checksum_address(address)) for address in contracts.values())
    finally:
        await node.stop()


async def test_the_chains_file_says_what_the_services_read(chain: Anvil, tmp_path: Path) -> None:
    # As a program, the way that others start it.
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        SCRIPTS / "deploy.py",
        *map(str, arguments_of(chain, tmp_path)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    entry = chains_in(tmp_path)[31337]
    assert entry["contracts"]["UsageEscrow"] in out.decode()
    assert {key: entry[key] for key in ("name", "rpc_url", "finality", "poll_interval_ms", "operator")} == {
        "name": "local",
        "rpc_url": chain.rpc_url,
        "finality": {"source": "tag"},
        "poll_interval_ms": 200,
        "operator": OPERATOR.address,
    }
    assert entry["start_block"] == 1
    assert all(address == address.lower() for address in entry["contracts"].values())


async def test_a_second_run_finds_what_stands(chain: Anvil, tmp_path: Path) -> None:
    first = await deploy_on(chain, tmp_path)
    block = await chain.block_number()
    second = await deploy_on(chain, tmp_path)
    assert (first["transactions"] > 0, second["transactions"]) == (True, 0)
    assert second["chain"] == first["chain"]
    assert await chain.block_number() == block


async def test_a_second_run_keeps_how_the_chain_is_polled(chain: Anvil, tmp_path: Path) -> None:
    await deploy_on(chain, tmp_path)
    path = tmp_path / "chains.json"
    changed = json.loads(path.read_text())
    changed["chains"][0] |= {"finality": {"source": "depth", "depth": 12}, "poll_interval_ms": 900}
    path.write_text(json.dumps(changed))
    await deploy_on(chain, tmp_path)
    entry = chains_in(tmp_path)[31337]
    assert (entry["finality"], entry["poll_interval_ms"]) == ({"source": "depth", "depth": 12}, 900)


async def test_a_stranger_who_deploys_first_changes_nothing(
    chain: Anvil, second_chain: Anvil, tmp_path: Path
) -> None:
    expected = await deploy_on(chain, tmp_path)
    # The same creation code for the first contract, sent by another account.
    block = w3_of(chain).eth.get_block(1, full_transactions=True)
    transaction: Any = block["transactions"][0]
    sent = {"from": STRANGER.address, "to": transaction["to"], "data": transaction["input"].to_0x_hex()}
    await second_chain.send({**sent, "gas": hex(5_000_000)})
    result = await deploy_on(second_chain, tmp_path)
    assert result["chain"]["contracts"] == expected["chain"]["contracts"]
    assert result["governance"] == expected["governance"]


@pytest.mark.parametrize("sent", [0, 1, 9, 10, 13, 16, 22, 24, 27, 29])
async def test_a_deployment_that_was_cut_off_goes_on(
    chain: Anvil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: int
) -> None:
    sender = importlib.import_module("deployment.sender")
    left, real = sent, sender.Sender.send

    class Killed(BaseException):
        pass

    def send(self: Any, *args: Any) -> None:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        real(self, *args)

    with monkeypatch.context() as patched:
        patched.setattr(sender.Sender, "send", send)
        with pytest.raises(Killed):
            await deploy_on(chain, tmp_path)
    result = await deploy_on(chain, tmp_path)
    timelock = to_checksum_address(result["chain"]["contracts"]["TimelockController"])
    assert result["governance"]["roles"] == {
        "admin": [timelock],
        "directory": [timelock],
        "parameter": [timelock],
        "protocol": [to_checksum_address(result["chain"]["contracts"]["ProtocolGovernor"])],
        "reporter": [timelock],
    }


async def test_the_deployer_keeps_no_role(chain: Anvil, tmp_path: Path) -> None:
    contracts = (await deploy_on(chain, tmp_path))["chain"]["contracts"]
    manager = contract_at(chain, contracts, "AccessManager")
    deployer = to_checksum_address(DEPLOYER.address)
    for role in range(5):
        assert manager.functions.hasRole(role, deployer).call() == [False, 0]
    refused = keccak(text="AccessManagedUnauthorized(address)")[:4].hex()
    for name, call in (
        ("Directory", ("advance", to_checksum_address(contracts["LicenseSale"]), 2)),
        ("UsageEscrow", ("setExitDelay", 60)),
        ("UsageEscrow", ("setDisputeTime", 60)),
        ("RevenueRouter", ("setFee", 0)),
        ("Directory", ("pauseEntry", to_checksum_address(contracts["LicenseSale"]), 1)),
        ("ComplianceGate", ("setLongestTerm", 60 * 86400)),
        ("MirrorBook", ("report", b"\1" * 32, deployer, 1, b"\0" * 32)),
        ("MirrorBook", ("correct", b"\1" * 32, deployer, 1, b"\0" * 32)),
    ):
        function = contract_at(chain, contracts, name).functions[call[0]](*call[1:])
        with pytest.raises(Exception, match=refused):
            function.call({"from": deployer})


async def _as_timelock(node: Anvil, contracts: dict[str, str], name: str, method: str, *args: Any) -> None:
    """Sends what the timelock could decide."""
    timelock = contracts["TimelockController"]
    await node.rpc("anvil_impersonateAccount", timelock)
    await node.rpc("anvil_setBalance", timelock, hex(10**18))
    contract = contract_at(node, contracts, name)
    data = contract.encode_abi(method, list(args))
    # In its own block: a later one's time must not become this transaction's.
    sent: Any = await node.send({"from": timelock, "to": contracts[name], "data": data})
    assert contract.w3.eth.wait_for_transaction_receipt(sent)["status"] == 1


async def test_a_role_that_is_too_many_fails_the_deployment(chain: Anvil, tmp_path: Path) -> None:
    contracts = (await deploy_on(chain, tmp_path))["chain"]["contracts"]
    stranger = to_checksum_address(STRANGER.address)
    await _as_timelock(chain, contracts, "AccessManager", "grantRole", 2, stranger, 0)
    status, _, error = await run_script(
        "deploy", *arguments_of(chain, tmp_path, "--exit-delay-s", EXIT_DELAY_S)
    )
    assert status == 1
    assert stranger in error


async def test_named_reporters_report_and_nobody_else(chain: Anvil, tmp_path: Path) -> None:
    reporter = to_checksum_address(RECEIPT_KEY.address)
    arguments = arguments_of(
        chain, tmp_path, "--exit-delay-s", EXIT_DELAY_S, "--mirror-reporter", RECEIPT_KEY.address, "--json"
    )
    status, out, error = await run_script("deploy", *arguments)
    assert status == 0, error
    contracts = json.loads(out)["chain"]["contracts"]
    members = json.loads(out)["governance"]["roles"]["reporter"]
    assert members == sorted([reporter, to_checksum_address(contracts["TimelockController"])])
    report = contract_at(chain, contracts, "MirrorBook").functions.report(b"\1" * 32, reporter, 1, b"\0" * 32)
    report.call({"from": reporter})
    refused = keccak(text="AccessManagedUnauthorized(address)")[:4].hex()
    with pytest.raises(Exception, match=refused):
        report.call({"from": to_checksum_address(STRANGER.address)})
    # Without being named it is one role too many.
    status, _, error = await run_script(
        "deploy", *arguments_of(chain, tmp_path, "--exit-delay-s", EXIT_DELAY_S)
    )
    assert (status, reporter in error) == (1, True)


async def test_the_deployer_is_no_reporter(chain: Anvil, tmp_path: Path) -> None:
    named = ("--mirror-reporter", DEPLOYER.address)
    status, _, error = await run_script("deploy", *arguments_of(chain, tmp_path, *named))
    assert (status, error) == (
        1,
        "deploy: the deployer keeps no role, so it cannot be a mirror reporter\n",
    )
    assert await chain.block_number() == 0


@pytest.mark.parametrize(
    ("name", "method", "said"),
    [
        ("AccessManager", "setTargetClosed", "closed_targets"),
        ("Directory", "advance", "listed"),
        ("UsageEscrow", "setExitDelay", "exit_delay_s"),
        ("UsageEscrow", "setDisputeTime", "dispute_time_s"),
    ],
)
async def test_a_setting_that_is_off_fails_the_deployment(
    chain: Anvil, tmp_path: Path, name: str, method: str, said: str
) -> None:
    contracts = (await deploy_on(chain, tmp_path))["chain"]["contracts"]
    sale = to_checksum_address(contracts["LicenseSale"])
    args = {"setTargetClosed": (sale, True), "advance": (sale, 2)}.get(method, (60,))
    await _as_timelock(chain, contracts, name, method, *args)
    await chain.advance(EXIT_DELAY_S)
    status, _, error = await run_script(
        "deploy", *arguments_of(chain, tmp_path, "--exit-delay-s", EXIT_DELAY_S)
    )
    assert status == 1
    assert said in error


async def test_outside_development_chains_there_is_no_test_money(real_chain: Anvil, tmp_path: Path) -> None:
    result = await deploy_on(
        real_chain, tmp_path, 72 * 3600, *stated_in(tmp_path, {OPERATOR.address: SUPPLY})
    )
    assert "TestUSD" not in result["chain"]["contracts"]
    assert result["governance"]["exit_delay_s"] == 72 * 3600


async def test_outside_development_chains_an_exit_is_never_short(real_chain: Anvil, tmp_path: Path) -> None:
    stated = stated_in(tmp_path, {OPERATOR.address: SUPPLY})
    status, _, error = await run_script(
        "deploy", *arguments_of(real_chain, tmp_path, "--exit-delay-s", 3600, *stated)
    )
    assert (status, error) == (1, "deploy: an exit delay below 259200 s needs a development chain\n")
    assert await real_chain.block_number() == 0


async def test_outside_development_chains_a_dispute_is_never_short(real_chain: Anvil, tmp_path: Path) -> None:
    stated = stated_in(tmp_path, {OPERATOR.address: SUPPLY})
    status, _, error = await run_script(
        "deploy", *arguments_of(real_chain, tmp_path, "--dispute-time-s", 3600, *stated)
    )
    assert (status, error) == (1, "deploy: a dispute time below 86400 s needs a development chain\n")
    assert await real_chain.block_number() == 0


async def test_a_chain_without_the_deterministic_deployer_is_refused(chain: Anvil, tmp_path: Path) -> None:
    await chain.rpc("anvil_setCode", "0x4e59b44847b379578588920cA78FbF26c0B4956C", "0x")
    status, _, error = await run_script("deploy", *arguments_of(chain, tmp_path))
    assert status == 1
    assert "is missing on this chain" in error


async def test_a_chain_that_does_not_answer_is_refused(chain: Anvil, tmp_path: Path) -> None:
    await chain.stop()
    status, _, error = await run_script("deploy", *arguments_of(chain, tmp_path))
    assert (status, error) == (1, f"deploy: no chain answers at {chain.rpc_url}\n")


async def test_the_network_token_is_distributed_as_stated(chain: Anvil, tmp_path: Path) -> None:
    parts = {OPERATOR.address: SUPPLY - 10**24, STRANGER.address: 10**24}
    result = await deploy_on(chain, tmp_path, EXIT_DELAY_S, *stated_in(tmp_path, parts))
    expected = {to_checksum_address(account): str(amount) for account, amount in parts.items()}
    assert result["governance"]["network_token"] == expected
    assert result["governance"]["governor_delay_s"] == EXIT_DELAY_S
    contracts = result["chain"]["contracts"]
    token = contract_at(chain, contracts, "NetworkToken").functions
    assert token.totalSupply().call() == SUPPLY
    governor = contract_at(chain, contracts, "ProtocolGovernor").functions
    assert governor.token().call() == to_checksum_address(contracts["NetworkToken"])


@pytest.mark.parametrize("parts", [{}, {OPERATOR.address: SUPPLY - 1}, {OPERATOR.address: 0, "0x12": SUPPLY}])
async def test_a_distribution_that_is_not_the_supply_is_refused(
    chain: Anvil, tmp_path: Path, parts: dict[str, int]
) -> None:
    status, _, error = await run_script("deploy", *arguments_of(chain, tmp_path, *stated_in(tmp_path, parts)))
    assert status == 1
    assert "distribution.json" in error


async def test_outside_development_chains_the_distribution_is_stated(
    real_chain: Anvil, tmp_path: Path
) -> None:
    status, _, error = await run_script("deploy", *arguments_of(real_chain, tmp_path))
    assert (status, error) == (1, "deploy: --distribution must say who gets the network token\n")
