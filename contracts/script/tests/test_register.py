"""The registration of an operator, run as a program against a chain of its own."""

from __future__ import annotations

from pathlib import Path

from eth_utils.address import to_checksum_address
from licet_kit.testing.anvil import Anvil

from .deploying import OPERATOR, RECEIPT_KEY, STRANGER, contract_at, deploy_on, key_file, run_script, w3_of


def _registration(folder: Path, *more: object) -> list[object]:
    return [
        *("--chains-file", folder / "chains.json", "--private-key-file", key_file(folder, 1)),
        *("--receipt-key", RECEIPT_KEY.address, "--cap", 1_000_000, *more),
    ]


async def test_an_operator_is_registered_once(chain: Anvil, tmp_path: Path) -> None:
    contracts = (await deploy_on(chain, tmp_path))["chain"]["contracts"]
    status, out, error = await run_script("register_operator", *_registration(tmp_path))
    assert status == 0, error
    block = await chain.block_number()
    status, again, _ = await run_script("register_operator", *_registration(tmp_path))
    assert (status, again) == (0, out)
    assert await chain.block_number() == block
    escrow = contract_at(chain, contracts, "UsageEscrow").functions
    operator, key = to_checksum_address(OPERATOR.address), to_checksum_address(RECEIPT_KEY.address)
    now = w3_of(chain).eth.get_block("latest")["timestamp"]
    assert escrow.isReceiptKeyValid(operator, key, now).call()
    assert escrow.settlerCapOf(operator, to_checksum_address(contracts["TestUSD"])).call() == [1_000_000, 0]


async def test_a_registered_operator_gets_another_receipt_key(chain: Anvil, tmp_path: Path) -> None:
    contracts = (await deploy_on(chain, tmp_path))["chain"]["contracts"]
    await run_script("register_operator", *_registration(tmp_path))
    other = ("--receipt-key", STRANGER.address)
    status, _, error = await run_script("register_operator", *_registration(tmp_path, *other))
    assert status == 0, error
    escrow = contract_at(chain, contracts, "UsageEscrow").functions
    operator = to_checksum_address(OPERATOR.address)
    now = w3_of(chain).eth.get_block("latest")["timestamp"]
    for key in (RECEIPT_KEY, STRANGER):
        assert escrow.isReceiptKeyValid(operator, to_checksum_address(key.address), now).call()


async def test_a_registration_on_the_wrong_chain_is_refused(
    chain: Anvil, second_chain: Anvil, tmp_path: Path
) -> None:
    await deploy_on(chain, tmp_path)
    wrong = ("--rpc-url", second_chain.rpc_url)
    status, _, error = await run_script("register_operator", *_registration(tmp_path, *wrong))
    assert (status, error) == (1, "register_operator: the node answers for chain 31338, not 31337\n")
