"""The next generation of the licence contracts, by the script, against chains of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eth_utils.address import to_checksum_address
from licet_kit.testing.anvil import Anvil

from .deploying import EXIT_DELAY_S, chains_in, contract_at, deploy_on, key_file, run_script, w3_of

RETIRING = 2


async def succeed(node: Anvil, folder: Path, *more: object, key: int = 0, generation: int = 2) -> Any:
    arguments = [
        *("--chains-file", folder / "chains.json", "--private-key-file", key_file(folder, key)),
        *("--generation", generation, "--rpc-url", node.rpc_url, "--json", *more),
    ]
    status, out, error = await run_script("succeed", *arguments)
    assert status == 0, error
    return json.loads(out)


async def test_the_next_generation_is_active_after_the_wait_of_an_exit(chain: Anvil, tmp_path: Path) -> None:
    before = (await deploy_on(chain, tmp_path))["chain"]["contracts"]
    waiting = await succeed(chain, tmp_path)
    assert waiting["state"] == "waiting"
    assert chains_in(tmp_path)[31337]["contracts"] == before, "nothing holds yet"
    block = await chain.block_number()
    assert await succeed(chain, tmp_path) == waiting
    assert await chain.block_number() == block, "and nothing is sent twice"

    await chain.advance(EXIT_DELAY_S)
    done = await succeed(chain, tmp_path)
    assert (done["state"], done["contracts"]) == ("done", waiting["contracts"])
    entry = chains_in(tmp_path)[31337]
    directory = contract_at(chain, before, "Directory").functions
    for name in ("License", "LicenseSale", "BreachBook"):
        assert entry["former"][name] == [before[name]]
        assert entry["contracts"][name] == done["contracts"][name].lower() != before[name]
        assert directory.statusOf(to_checksum_address(before[name])).call() == RETIRING
        assert directory.generationOf(to_checksum_address(entry["contracts"][name])).call() == 2
    assert {name: a for name, a in entry["contracts"].items() if name not in done["contracts"]} == {
        name: a for name, a in before.items() if name not in done["contracts"]
    }
    assert await succeed(chain, tmp_path) == done
    assert chains_in(tmp_path)[31337] == entry, "what is done stays as it is"


async def test_each_generation_of_licences_has_a_book_of_breaches(chain: Anvil, tmp_path: Path) -> None:
    await deploy_on(chain, tmp_path)
    await succeed(chain, tmp_path)
    await chain.advance(EXIT_DELAY_S)
    await succeed(chain, tmp_path)
    entry = chains_in(tmp_path)[31337]
    former = {name: addresses[0] for name, addresses in entry["former"].items()}
    for contracts in (former, entry["contracts"]):
        code = w3_of(chain).eth.get_code(to_checksum_address(contracts["BreachBook"])).hex()
        assert contracts["License"].removeprefix("0x") in code, "whose licences it ends is fixed in its code"


async def test_a_third_generation_keeps_the_first_two(chain: Anvil, tmp_path: Path) -> None:
    first = (await deploy_on(chain, tmp_path))["chain"]["contracts"]["License"]
    found = [first]
    for generation in (2, 3):
        await succeed(chain, tmp_path, generation=generation)
        await chain.advance(EXIT_DELAY_S)
        done = await succeed(chain, tmp_path, generation=generation)
        found.append(done["contracts"]["License"].lower())
    entry = chains_in(tmp_path)[31337]
    assert [*entry["former"]["License"], entry["contracts"]["License"]] == found
    assert len(set(found)) == 3


async def test_deploying_again_keeps_every_generation(chain: Anvil, tmp_path: Path) -> None:
    await deploy_on(chain, tmp_path)
    await succeed(chain, tmp_path)
    await chain.advance(EXIT_DELAY_S)
    await succeed(chain, tmp_path)
    entry = chains_in(tmp_path)[31337]
    again = await deploy_on(chain, tmp_path)
    assert again["transactions"] == 0
    assert chains_in(tmp_path)[31337] == entry


async def test_deploying_on_a_fresh_chain_begins_with_the_first_generation(
    chain: Anvil, second_chain: Anvil, tmp_path: Path
) -> None:
    first = (await deploy_on(chain, tmp_path))["chain"]
    await succeed(chain, tmp_path)
    await chain.advance(EXIT_DELAY_S)
    await succeed(chain, tmp_path)
    stale = json.loads((tmp_path / "chains.json").read_text())
    stale["chains"][0]["chain_id"] = 31338
    (tmp_path / "chains.json").write_text(json.dumps(stale))
    entry = (await deploy_on(second_chain, tmp_path))["chain"]
    assert entry["contracts"] == first["contracts"]
    assert "former" not in entry


async def test_two_chains_get_the_same_next_addresses(
    chain: Anvil, second_chain: Anvil, tmp_path: Path
) -> None:
    await deploy_on(chain, tmp_path)
    await deploy_on(second_chain, tmp_path)
    here = await succeed(chain, tmp_path, "--chain-id", 31337)
    there = await succeed(second_chain, tmp_path, "--chain-id", 31338)
    assert here["contracts"] == there["contracts"]


@pytest.mark.parametrize(
    ("more", "key", "generation", "said"),
    [
        ((), 3, 2, "does not propose to the timelock"),
        ((), 0, 3, "the next one is not 3"),
        (("--chain-id", 5), 0, 2, "0 chains in"),
    ],
)
async def test_a_succession_that_cannot_be_is_refused(
    chain: Anvil, tmp_path: Path, more: tuple[object, ...], key: int, generation: int, said: str
) -> None:
    await deploy_on(chain, tmp_path)
    arguments = [
        *("--chains-file", tmp_path / "chains.json", "--private-key-file", key_file(tmp_path, key)),
        *("--generation", generation, *more),
    ]
    status, _, error = await run_script("succeed", *arguments)
    assert status == 1
    assert said in error
