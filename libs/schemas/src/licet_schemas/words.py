"""Keccak-256 and the 32-byte words of Solidity's ABI."""

from __future__ import annotations

from typing import Final

import sha3

WORD_BYTES: Final = 32
ADDRESS_BYTES: Final = 20


def keccak(data: bytes) -> bytes:
    """Keccak-256 as Ethereum uses it."""
    digest: bytes = sha3.keccak_256(data).digest()
    return digest


def uint_word(value: int, bits: int) -> bytes:
    """A `uint<bits>` as a word. Raises ValueError outside its range."""
    if not 0 <= value < 1 << bits:
        raise ValueError(f"{value} is no uint{bits}")
    return value.to_bytes(WORD_BYTES, "big")


def bytes32(value: bytes) -> bytes:
    """The value itself. Raises ValueError unless it has 32 bytes."""
    if len(value) != WORD_BYTES:
        raise ValueError(f"{len(value)} bytes are no bytes32")
    return value


def address_bytes(address: str) -> bytes:
    """The 20 bytes of a `0x…` address. Raises ValueError when it is none."""
    raw = bytes.fromhex(address.removeprefix("0x"))
    if len(raw) != ADDRESS_BYTES or not address.startswith("0x"):
        raise ValueError(f"{address} is no address")
    return raw


def address_word(address: str) -> bytes:
    """An address as a word, padded on the left."""
    return address_bytes(address).rjust(WORD_BYTES, b"\0")
