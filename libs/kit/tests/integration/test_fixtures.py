"""The fixtures that other tests rely on."""

import asyncio
import json
import signal
from pathlib import Path

import pytest
from licet_kit.chains import load_chains
from licet_kit.testing.anvil import RpcError, dev_account
from licet_kit.testing.plugin import Eventually, StartAnvil, StartChain, StartProxy
from redis.asyncio import Redis


async def test_chains_are_apart_and_blocks_come_by_transaction(anvil: StartAnvil) -> None:
    first, second = await anvil(), await anvil()
    assert first.port != second.port
    assert await first.mine(3) == 3
    assert await second.block_number() == 0
    sender, receiver = dev_account(0).address, dev_account(1).address
    await first.send({"from": sender, "to": receiver, "value": "0x1"})
    assert await first.block_number() == 4


async def test_a_reorg_replaces_the_newest_blocks(anvil: StartAnvil) -> None:
    node = await anvil()
    await node.mine(5)
    before = await node.rpc("eth_getBlockByNumber", "0x4", False)
    await node.reorg(2)
    after = await node.rpc("eth_getBlockByNumber", "0x4", False)
    assert await node.block_number() == 5
    assert before["hash"] != after["hash"]
    assert before["parentHash"] == after["parentHash"]


async def test_a_snapshot_brings_a_state_back(anvil: StartAnvil) -> None:
    node = await anvil()
    snapshot = await node.snapshot()
    await node.mine(2)
    await node.revert(snapshot)
    assert await node.block_number() == 0
    with pytest.raises(RpcError):
        await node.rpc("no_such_method")


async def test_a_killed_chain_comes_back_with_its_saved_blocks(
    anvil: StartAnvil, tmp_path: Path, eventually: Eventually
) -> None:
    state = tmp_path / "state.json"
    node = await anvil("--state", str(state), "--state-interval", "1")
    await node.mine(3)
    await eventually(lambda: state.exists() and json.loads(state.read_text())["best_block_number"] == 3)
    await node.stop(signal.SIGKILL)
    await node.start()
    assert await node.block_number() == 3


async def test_a_deployed_chain_has_its_contracts(chain: StartChain) -> None:
    deployed = await chain()
    (described,) = load_chains(deployed.chains_file)
    assert described.rpc_url == deployed.anvil.rpc_url
    assert described.chain_id == await deployed.anvil.chain_id()
    for address in described.contracts.values():
        assert len(await deployed.anvil.rpc("eth_getCode", address, "latest")) > 2
    assert await deployed.anvil.rpc("eth_getBalance", deployed.operator.address, "latest") != "0x0"


async def test_a_redis_database_is_empty_and_alone(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as redis:
        assert await redis.dbsize() == 0
        await redis.set("key", "value")
    assert not redis_url.endswith("/0")


async def test_a_proxy_cuts_and_freezes(proxy: StartProxy, eventually: Eventually) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    door = await proxy("127.0.0.1", server.sockets[0].getsockname()[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(b"one")
    assert await reader.read(100) == b"one"
    door.pause()
    writer.write(b"two")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(100), 0.1)
    door.resume()
    assert await reader.read(100) == b"two"
    await door.cut()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", door.port)
    await door.restore()
    _, again = await asyncio.open_connection("127.0.0.1", door.port)
    for open_writer in (writer, again):
        open_writer.transport.abort()
    server.close()


async def test_eventually_says_what_did_not_hold(eventually: Eventually) -> None:
    with pytest.raises(AssertionError, match=r"the tide did not hold within 0.05 s; last: 0"):
        await eventually(lambda: 0, deadline_s=0.05, what="the tide")
    assert await eventually(lambda: "value") == "value"
