"""Royalties on a real chain: a derived asset earns through another operator, and its parent has its part."""

from __future__ import annotations

from dataclasses import astuple

from licet_billing.domain.ledger import Account, AccountKind, Currency
from licet_schemas.settlement import DIRECT, Group, Item, batch_tree, lines_of

from .settling import assert_exact
from .town import House

OTHER_OPERATOR, TUNER = 5, 6


async def _earn(house: House, amount: int) -> str:
    """Use of a model that was tuned from the town's asset, with 10 % for it and half of the rest to contributors."""
    town = house.town
    tuner, token = town.checksum(town.deployed.account(TUNER).address), town.checksum(town.token)
    parents = [(bytes.fromhex(town.asset_id[2:]), 1_000)]
    town.send(TUNER, "AssetRegistry", "registerDerived", "tuner/model", 1, tuner, parents)
    token_id = int.from_bytes(town.w3.keccak(text="tuner/model"), "big")
    tuned = bytes(town.call("AssetRegistry", "assetIdOf", token_id))
    contributors = [(town.checksum(town.deployed.account(n).address), n) for n in (7, 8)]
    town.send(TUNER, "AssetRegistry", "setContributors", tuned, 5_000, contributors)
    other = town.checksum(town.deployed.account(OTHER_OPERATOR).address)
    now = int(town.w3.eth.get_block("latest")["timestamp"])
    town.send(OTHER_OPERATOR, "UsageEscrow", "registerOperator", other, now, now + 10**8)
    town.send(OTHER_OPERATOR, "UsageEscrow", "setSettlerCap", token, amount)
    town.send(3, "TestUSD", "approve", town.checksum(town.chain.contract("UsageEscrow")), amount)
    town.send(3, "UsageEscrow", "deposit", other, token, amount)
    item = Item(town.checksum(town.payer), DIRECT, 0, amount, bytes(32), 1)
    group = Group(tuned, token, (item,))
    root = batch_tree(lines_of([group])).root
    town.send(OTHER_OPERATOR, "UsageEscrow", "settle", 1, root, "", [astuple(group)])
    town.release(1, other, "0x" + tuned.hex())
    return "0x" + tuned.hex()


async def test_royalties_are_in_the_books_to_the_unit(house: House) -> None:
    town = house.town
    tuned = await _earn(house, 10_010)
    token = town.checksum(town.token)
    town.send(0, "RevenueRouter", "distribute", tuned, token)
    await house.finalise()
    # 100 fee, 991 royalty, half of 8,919 by 7 and 8 parts of 15, of which 1 is dust.
    currency = Currency(town.chain.chain_id, town.token)
    parent = Account(AccountKind.EARNINGS, currency, town.asset_id)
    assert await house.inbox.balances(parent, Account(AccountKind.EARNINGS, currency, tuned)) == (991, 0)
    await assert_exact(house)
    town.send(0, "RevenueRouter", "distribute", town.asset_id, token)
    town.send(2, "RevenueRouter", "claim", token)
    town.send(7, "RevenueRouter", "claimBatch", [token])
    await house.finalise()
    assert town.call("TestUSD", "balanceOf", town.checksum(town.owner)) == 991
    assert (
        town.call("TestUSD", "balanceOf", town.checksum(town.deployed.account(7).address)) == 4_459 * 7 // 15
    )
    await assert_exact(house)
