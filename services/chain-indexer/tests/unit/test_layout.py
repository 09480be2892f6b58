"""The layout decoder against web3's own, on every event of the watched contracts."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.address import to_checksum_address
from hexbytes import HexBytes
from hypothesis import given, settings
from hypothesis import strategies as st
from licet_indexer.domain.catalogue import WATCHED
from licet_indexer.domain.layout import Layout, MalformedLog, layout_of
from licet_schemas.abi import load_abi
from web3 import Web3

EVENTS = [
    (contract, entry) for contract in WATCHED for entry in load_abi(contract) if entry["type"] == "event"
]
IDS = [f"{contract}.{entry['name']}" for contract, entry in EVENTS]
CONTRACT = "0x" + "c0" * 20
W3 = Web3()


def values_of(kind: str, components: list[dict[str, Any]]) -> st.SearchStrategy[Any]:
    if kind == "tuple":
        return st.tuples(*(values_of(part["type"], part.get("components", [])) for part in components))
    if kind.endswith("[]"):
        return st.lists(values_of(kind[:-2], components), max_size=4)
    if kind.startswith("uint"):
        limit = 2 ** int(kind[4:]) - 1
        return st.one_of(st.integers(0, limit), st.sampled_from([0, 1, limit]))
    if kind == "address":
        return st.binary(min_size=20, max_size=20).map(lambda b: "0x" + b.hex())
    if kind == "bytes32":
        return st.binary(min_size=32, max_size=32)
    if kind == "bool":
        return st.booleans()
    if kind == "bytes":
        return st.binary(max_size=100)
    assert kind == "string"
    return st.text(max_size=100)


def event_values(entry: dict[str, Any]) -> st.SearchStrategy[list[Any]]:
    return st.tuples(*(values_of(p["type"], p.get("components", [])) for p in entry["inputs"])).map(list)


def canonical(parameter: dict[str, Any]) -> str:
    if parameter["type"].startswith("tuple"):
        parts = ",".join(map(canonical, parameter["components"]))
        return f"({parts}){parameter['type'].removeprefix('tuple')}"
    return str(parameter["type"])


def encoded(entry: dict[str, Any], values: list[Any]) -> tuple[list[str], str]:
    pairs = list(zip(entry["inputs"], values, strict=True))
    topics = ["0x" + encode([p["type"]], [v]).hex() for p, v in pairs if p["indexed"]]
    body = [(p, v) for p, v in pairs if not p["indexed"]]
    return topics, "0x" + encode([canonical(p) for p, _ in body], [v for _, v in body]).hex()


def plain(value: Any) -> Any:
    """web3's values in the decoder's spelling."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, str) and value.startswith("0x") and len(value) == 42:
        return value.lower()
    if isinstance(value, list):
        return tuple(map(plain, value))
    if hasattr(value, "items"):
        return {name: plain(part) for name, part in value.items()}
    return value


@functools.cache
def web3_event(contract: str, name: str) -> Any:
    return W3.eth.contract(abi=load_abi(contract)).events[name]()


def by_web3(contract: str, layout: Layout, topics: list[str], body: str) -> dict[str, Any]:
    log = {
        "address": to_checksum_address(CONTRACT),
        "topics": [HexBytes(layout.topic0), *map(HexBytes, topics)],
        "data": HexBytes(body),
        "blockNumber": 1,
        "blockHash": HexBytes(b"\x01" * 32),
        "transactionHash": HexBytes(b"\x02" * 32),
        "transactionIndex": 0,
        "logIndex": 0,
    }
    event = web3_event(contract, layout.name)
    return {name: plain(value) for name, value in event.process_log(log)["args"].items()}


@pytest.mark.parametrize(("contract", "entry"), EVENTS, ids=IDS)
@settings(max_examples=40)
@given(data=st.data())
def test_decoder_equals_web3_on_every_event(
    contract: str, entry: dict[str, Any], data: st.DataObject
) -> None:
    values = data.draw(event_values(entry))
    layout = layout_of(entry)
    topics, body = encoded(entry, values)
    expected = by_web3(contract, layout, topics, body)
    assert layout.decode((layout.topic0, *topics), body) == expected


def plan_created() -> tuple[Layout, dict[str, Any]]:
    entry = next(entry for _, entry in EVENTS if entry["name"] == "PlanCreated")
    return layout_of(entry), entry


TERMS = (
    b"\x01" * 32,
    CONTRACT,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    "request",
    9,
    True,
    False,
    10,
    11,
    CONTRACT,
    12,
    13,
    b"\x02" * 32,
    b"\x03" * 32,
)


def test_event_with_a_topic_too_few_is_malformed() -> None:
    layout, entry = plan_created()
    topics, body = encoded(entry, [1, b"\x01" * 32, CONTRACT, TERMS])
    with pytest.raises(MalformedLog, match="3 indexed values, the log 2"):
        layout.decode((layout.topic0, *topics[:-1]), body)


@settings(max_examples=300)
@given(data=st.data())
def test_damaged_data_is_malformed_or_read_as_web3_reads_it(data: st.DataObject) -> None:
    layout, entry = plan_created()
    topics, body = encoded(entry, [1, b"\x01" * 32, CONTRACT, TERMS])
    raw = bytearray.fromhex(body[2:])
    match data.draw(st.sampled_from(["cut", "flip", "word"])):
        case "cut":
            del raw[data.draw(st.integers(0, len(raw) - 1)) :]
        case "flip":
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
        case _:
            at = 32 * data.draw(st.integers(0, len(raw) // 32 - 1))
            raw[at : at + 32] = data.draw(st.binary(min_size=32, max_size=32))
    damaged = "0x" + raw.hex()
    try:
        decoded = layout.decode((layout.topic0, *topics), damaged)
    except MalformedLog:
        return
    assert decoded == by_web3("PlanBook", layout, topics, damaged)
