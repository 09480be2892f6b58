"""Vouchers on a real chain with the real contracts: signed, presented, and drawn on up to what was signed."""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import Any

import pytest
from eth_utils.address import to_checksum_address
from licet_kit.testing.anvil import dev_account
from licet_schemas import settlement
from licet_sdk.chain import Chain
from licet_sdk.errors import ChainError, ConfigError
from licet_sdk.vouchers import Channel, Vouchers

PAYER, OPERATOR = 3, 4
LOCKED, DAY_S = 1_000, 86_400


def _serving(operator: Chain) -> Chain:
    key = to_checksum_address(dev_account(9).address)
    begin = int(operator.w3.eth.get_block("latest")["timestamp"])
    operator.send("UsageEscrow", "registerOperator", key, begin, begin + DAY_S)
    operator.send("UsageEscrow", "setSettlerCap", to_checksum_address(operator.addresses["TestUSD"]), LOCKED)
    return operator


def _settle(operator: Chain, payer: Chain, asset_id: str, channel: bytes, due: int) -> None:
    batch = int(operator.call("UsageEscrow", "lastBatchOf", operator.wallet)) + 1
    item = settlement.Item(payer.wallet, channel, 0, due, b"\x04" * 32, 1)
    token = to_checksum_address(operator.addresses["TestUSD"])
    group = settlement.Group(bytes.fromhex(asset_id[2:]), token, (item,))
    root = settlement.batch_tree(settlement.lines_of([group])).root
    operator.send("UsageEscrow", "settle", batch, root, "", [astuple(group)])


async def test_no_more_is_drawn_through_a_channel_than_was_signed(wallet: Any) -> None:
    payer, operator = wallet(PAYER), _serving(wallet(OPERATOR))
    asset_id, _ = payer.register_asset("acme/tumour-risk")
    payer.send("TestUSD", "mint", payer.wallet, LOCKED)
    payer.deposit(operator.wallet, LOCKED)
    theirs, channel = Vouchers(operator), Vouchers.new_channel()
    first, signed_first = Vouchers(payer).sign(operator.wallet, channel, 40)
    second, signed_second = Vouchers(payer).sign(operator.wallet, channel, 100)
    assert theirs.show(first) == Channel(0, 0)

    with pytest.raises(ChainError) as forged:
        theirs.present(replace(first, cumulative=1_000), signed_first)
    assert forged.value.code == "UsageEscrow_InvalidVoucherSignature"
    theirs.present(first, signed_first)
    _settle(operator, payer, asset_id, channel, 70)
    assert theirs.show(first) == Channel(40, 40)
    theirs.present(second, signed_second)
    with pytest.raises(ChainError) as stale:
        theirs.present(first, signed_first)
    assert stale.value.code == "UsageEscrow_StaleVoucher"
    _settle(operator, payer, asset_id, channel, 500)
    assert theirs.show(second) == Channel(100, 100)


async def test_a_channel_is_a_word_of_its_own(wallet: Any) -> None:
    vouchers = Vouchers(wallet(PAYER))
    for wrong in (b"", b"\x01" * 31, bytes(32)):
        with pytest.raises(ConfigError):
            vouchers.sign("0x" + "11" * 20, wrong, 1)
