"""Decodes event logs by slicing at offsets that are computed once from the ABI.

A general ABI decoder walks type objects for each value; here each event becomes a tuple of readers over the hex text of
the log, two orders of magnitude faster, and as strict: padding must be zero, lengths must be inside the data. Values:
address, bytes and bytes32 as lowercase 0x-hex, integers as int, bool, string as str, tuples as dict, a list of
bytes32 or of tuples as tuple.
Format: Solidity ABI specification, "Events" and "Formal Specification of the Encoding".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from licet_kit.errors import PermanentError
from sha3 import keccak_256

# Hex digits of one 32-byte word.
WORD = 64
_BYTES = 2

Abi = Mapping[str, Any]
# (hex text without 0x, offset where this tuple begins, offset of the value's head) -> value
Reader = Callable[[str, int, int], Any]


class MalformedLog(PermanentError):
    """The topics or the data do not follow the event's layout."""

    code = "malformed_log"


def _word(text: str, head: int) -> str:
    word = text[head : head + WORD]
    if len(word) != WORD:
        raise MalformedLog(f"data ends before offset {head // _BYTES + 32}")
    return word


def _unsigned(bits: int) -> Reader:
    limit = 1 << bits

    def read(text: str, _base: int, head: int) -> int:
        value = int(_word(text, head), 16)
        if value >= limit:
            raise MalformedLog(f"value above uint{bits}")
        return value

    return read


def _address(text: str, _base: int, head: int) -> str:
    word = _word(text, head)
    if word[:24] != "0" * 24:
        raise MalformedLog("address with dirty upper bytes")
    return "0x" + word[24:]


def _bytes32(text: str, _base: int, head: int) -> str:
    return "0x" + _word(text, head)


def _bool(text: str, _base: int, head: int) -> bool:
    value = int(_word(text, head), 16)
    if value > 1:
        raise MalformedLog("bool that is neither 0 nor 1")
    return value == 1


def _tail(text: str, base: int, head: int) -> int:
    """Follows an offset word to where a dynamic value begins."""
    start = base + int(_word(text, head), 16) * _BYTES
    if start >= len(text):
        raise MalformedLog("offset outside the data")
    return start


def _bytes(text: str, base: int, head: int) -> str:
    start = _tail(text, base, head)
    size = int(_word(text, start), 16)
    padded = start + WORD + -(-size // 32) * WORD
    if padded > len(text):
        raise MalformedLog("bytes longer than the data")
    end = start + WORD + size * _BYTES
    if text[end:padded].strip("0"):
        raise MalformedLog("bytes with dirty padding")
    return text[start + WORD : end]


def _string(text: str, base: int, head: int) -> str:
    try:
        return bytes.fromhex(_bytes(text, base, head)).decode()
    except UnicodeDecodeError as error:
        raise MalformedLog("string is not UTF-8") from error


def _hex_bytes(text: str, base: int, head: int) -> str:
    return "0x" + _bytes(text, base, head)


def _words(element: Reader) -> Reader:
    """A list of elements of one word each."""

    def read(text: str, base: int, head: int) -> tuple[Any, ...]:
        start = _tail(text, base, head)
        end = start + WORD + int(_word(text, start), 16) * WORD
        if end > len(text):
            raise MalformedLog("array longer than the data")
        return tuple(element(text, at, at) for at in range(start + WORD, end, WORD))

    return read


def _tuples(components: Iterable[Abi]) -> Reader:
    """A list of tuples that have no dynamic part."""
    fields, dynamic = _fields(components)
    if dynamic:
        raise NotImplementedError("a list of tuples of dynamic size")
    width = len(fields) * WORD

    def read(text: str, base: int, head: int) -> tuple[dict[str, Any], ...]:
        start = _tail(text, base, head)
        end = start + WORD + int(_word(text, start), 16) * width
        if end > len(text):
            raise MalformedLog("array longer than the data")
        return tuple(_read_fields(fields, text, at) for at in range(start + WORD, end, width))

    return read


def _tuple(components: Iterable[Abi]) -> tuple[Reader, bool]:
    fields, dynamic = _fields(components)

    def read(text: str, base: int, head: int) -> dict[str, Any]:
        start = _tail(text, base, head) if dynamic else head
        return _read_fields(fields, text, start)

    return read, dynamic


_Fields = tuple[tuple[str, Reader, int], ...]


def _read_fields(fields: _Fields, text: str, base: int) -> dict[str, Any]:
    return {name: read(text, base, base + offset) for name, read, offset in fields}


# Types without a part of their own: their reader, and whether they are dynamic.
_PLAIN: Final[dict[str, tuple[Reader, bool]]] = {
    "address": (_address, False),
    "bytes32": (_bytes32, False),
    "bool": (_bool, False),
    "string": (_string, True),
    "bytes": (_hex_bytes, True),
    "bytes32[]": (_words(_bytes32), True),
    "uint256[]": (_words(_unsigned(256)), True),
}


def _reader(parameter: Abi) -> tuple[Reader, bool, int]:
    """Reader of a type, whether it is dynamic, and how many hex digits its head takes."""
    kind: str = parameter["type"]
    if kind == "tuple":
        read, dynamic = _tuple(parameter["components"])
        width = WORD if dynamic else sum(_reader(part)[2] for part in parameter["components"])
        return read, dynamic, width
    if kind == "tuple[]":
        return _tuples(parameter["components"]), True, WORD
    if kind.startswith("uint") and kind[4:].isdigit():
        return _unsigned(int(kind[4:])), False, WORD
    if kind in _PLAIN:
        read, dynamic = _PLAIN[kind]
        return read, dynamic, WORD
    raise NotImplementedError(f"no reader for the ABI type {kind}")


def _fields(parameters: Iterable[Abi]) -> tuple[_Fields, bool]:
    fields: list[tuple[str, Reader, int]] = []
    offset, any_dynamic = 0, False
    for parameter in parameters:
        read, dynamic, width = _reader(parameter)
        fields.append((parameter["name"], read, offset))
        offset += width
        any_dynamic |= dynamic
    return tuple(fields), any_dynamic


def _canonical(parameter: Abi) -> str:
    if parameter["type"].startswith("tuple"):
        parts = ",".join(map(_canonical, parameter["components"]))
        return f"({parts}){parameter['type'].removeprefix('tuple')}"
    return str(parameter["type"])


@dataclass(frozen=True, slots=True)
class Layout:
    """How one event lies in topics and data."""

    name: str
    topic0: str
    indexed: tuple[tuple[str, Reader], ...]
    body: _Fields

    def decode(self, topics: tuple[str, ...], data: str) -> dict[str, Any]:
        """Values by parameter name. Raises MalformedLog where the log does not follow the layout."""
        if len(topics) != len(self.indexed) + 1:
            raise MalformedLog(
                f"{self.name} has {len(self.indexed)} indexed values, the log {len(topics) - 1}"
            )
        values = {
            name: read(topic[2:], 0, 0) for (name, read), topic in zip(self.indexed, topics[1:], strict=True)
        }
        values.update(_read_fields(self.body, data[2:], 0))
        return values


def layout_of(event: Abi) -> Layout:
    """Layout of an event's ABI entry. Raises NotImplementedError for a type that no contract of ours uses."""
    signature = event["name"] + "(" + ",".join(map(_canonical, event["inputs"])) + ")"
    indexed = [p for p in event["inputs"] if p["indexed"]]
    if any(_reader(p)[1] for p in indexed):
        raise NotImplementedError(f"{signature}: an indexed dynamic value is only a hash")
    return Layout(
        name=event["name"],
        topic0="0x" + keccak_256(signature.encode()).hexdigest(),
        indexed=tuple((p["name"], _reader(p)[0]) for p in indexed),
        body=_fields(p for p in event["inputs"] if not p["indexed"])[0],
    )
