"""A contract that emits whatever its caller says, so that a chain can say anything that the real contracts could.

Its calldata is a list of entries: number of topics, four topic words, length of the data, data padded to words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eth_abi.abi import encode
from licet_schemas.abi import load_abi

from licet_indexer.domain.catalogue import WATCHED
from licet_indexer.domain.layout import layout_of

_HEAD = 192

_OPS = {
    "STOP": 0x00,
    "ADD": 0x01,
    "GT": 0x11,
    "EQ": 0x14,
    "ISZERO": 0x15,
    "SHL": 0x1B,
    "SHR": 0x1C,
    "CALLDATALOAD": 0x35,
    "CALLDATASIZE": 0x36,
    "CALLDATACOPY": 0x37,
    "CODECOPY": 0x39,
    "POP": 0x50,
    "JUMP": 0x56,
    "JUMPI": 0x57,
    "JUMPDEST": 0x5B,
    "RETURN": 0xF3,
}


def _assemble(source: str) -> bytes:
    """Bytes of a program of opcodes, `DUPn`, `LOGn`, `PUSH value`, `:label` and `@label` (a push of its place)."""
    code, labels, fixes = bytearray(), dict[str, int](), list[tuple[int, str]]()
    words = iter(source.split())
    for word in words:
        if word.startswith(":"):
            labels[word[1:]] = len(code)
            code.append(_OPS["JUMPDEST"])
        elif word.startswith("@"):
            fixes.append((len(code) + 1, word[1:]))
            code += b"\x61\x00\x00"
        elif word == "PUSH":
            code += bytes((0x60, int(next(words))))
        elif word.startswith("DUP"):
            code.append(0x7F + int(word[3:]))
        elif word.startswith("LOG"):
            code.append(0xA0 + int(word[3:]))
        else:
            code.append(_OPS[word])
    for place, label in fixes:
        code[place : place + 2] = labels[label].to_bytes(2)
    return bytes(code)


def _emit(topics: int) -> str:
    # Stack: pointer, length. Topics are pushed last one first.
    pushes = [f"DUP{2 + pushed} PUSH {32 * (topics - pushed)} ADD CALLDATALOAD" for pushed in range(topics)]
    return f":log{topics} POP {' '.join(pushes)} DUP{topics + 1} PUSH 0 LOG{topics} @next JUMP"


_PROGRAM = f"""
    PUSH 0
    :loop DUP1 CALLDATASIZE GT ISZERO @end JUMPI
    DUP1 PUSH 160 ADD CALLDATALOAD
    DUP1 DUP3 PUSH 192 ADD PUSH 0 CALLDATACOPY
    DUP2 CALLDATALOAD
    {" ".join(f"DUP1 PUSH {n} EQ @log{n} JUMPI" for n in (1, 2, 3, 4))} @log0 JUMP
    {" ".join(map(_emit, range(5)))}
    :next PUSH 31 ADD PUSH 5 SHR PUSH 5 SHL ADD PUSH 192 ADD @loop JUMP
    :end STOP
"""
_RUNTIME = _assemble(_PROGRAM)
# Copies what follows it into memory and returns it as the contract's code.
_LOADER = bytes.fromhex(f"61{len(_RUNTIME):04x}80600c6000396000f3")
CREATION_CODE = "0x" + (_LOADER + _RUNTIME).hex()

_EVENTS: dict[tuple[str, str], dict[str, Any]] = {
    (contract, entry["name"]): entry
    for contract in WATCHED
    for entry in load_abi(contract)
    if entry["type"] == "event"
}


def raw_entry(topics: Sequence[str], data: bytes = b"") -> bytes:
    """Calldata of one log."""
    words = [bytes.fromhex(topic[2:]).rjust(32, b"\0") for topic in topics]
    words += [bytes(32)] * (4 - len(words))
    padding = bytes(-len(data) % 32)
    return len(topics).to_bytes(32) + b"".join(words) + len(data).to_bytes(32) + data + padding


def event_entry(contract: str, name: str, values: Mapping[str, Any]) -> bytes:
    """Calldata of one event of a watched contract's ABI. Values in the encoder's spelling, tuples as sequences."""
    entry = _EVENTS[contract, name]
    indexed = [p for p in entry["inputs"] if p["indexed"]]
    body = [p for p in entry["inputs"] if not p["indexed"]]
    topics = [layout_of(entry).topic0]
    topics += ["0x" + encode([p["type"]], [values[p["name"]]]).hex() for p in indexed]
    return raw_entry(topics, encode([_canonical(p) for p in body], [values[p["name"]] for p in body]))


def _canonical(parameter: Mapping[str, Any]) -> str:
    if parameter["type"].startswith("tuple"):
        parts = ",".join(map(_canonical, parameter["components"]))
        return f"({parts}){parameter['type'].removeprefix('tuple')}"
    return str(parameter["type"])
