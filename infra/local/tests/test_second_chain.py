"""A second chain is there when it was asked for, and not before."""

from __future__ import annotations

from typing import Any

from infra.local.deployment import rpc
from infra.local.profile import SECOND_CHAIN, SERVERS, SERVICES, read_json
from infra.local.stack import Stack
from infra.local.tests.conftest import MakeStack


def _entries(stack: Stack) -> list[dict[str, Any]]:
    return list((read_json(stack.profile.chains_file) or {"chains": []})["chains"])


def test_nobody_gets_a_second_chain_unasked(make_stack: MakeStack) -> None:
    assert make_stack("dev").profile.default_parts == (*SERVERS, *SERVICES)
    assert SECOND_CHAIN not in make_stack("test").profile.default_parts


def test_a_second_chain_has_the_contracts_and_stays_with_its_profile(make_stack: MakeStack) -> None:
    stack = make_stack("dev")

    assert stack.start([SECOND_CHAIN]) == [SECOND_CHAIN]

    [entry] = _entries(stack)
    assert (entry["chain_id"], entry["name"]) == (31338, "local-2")
    assert rpc(entry["rpc_url"], "eth_chainId") == hex(31338)
    assert rpc(entry["rpc_url"], "eth_getCode", entry["contracts"]["MirrorBook"], "latest") != "0x"
    assert SECOND_CHAIN in stack.profile.default_parts

    block = int(rpc(entry["rpc_url"], "eth_blockNumber"), 16)
    stack.kill(SECOND_CHAIN)
    stack.restart(SECOND_CHAIN)
    assert int(rpc(entry["rpc_url"], "eth_blockNumber"), 16) >= block - 2
    assert stack.start([SECOND_CHAIN]) == []
    assert _entries(stack) == [entry]

    stack.stop()
    stack.wipe()
    assert SECOND_CHAIN not in stack.profile.default_parts
    assert _entries(stack) == []
