"""Changes of bytes that know nothing of what they change, and cuts of them into pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from gateway_fuzz.engine import Case

# One change in each case is the most telling; of many the first is all that is looked at.
CHANGES: Final = (0, 1, 1, 1, 2, 3, 6)


def mutated(data: bytes, rng: Random, words: Sequence[bytes], changes: int | None = None) -> bytes:
    """`data` after a few changes; `words` are put in where a change needs some bytes."""
    for _ in range(rng.choice(CHANGES) if changes is None else changes):
        at = rng.randrange(len(data) + 1)
        data = rng.choice(_CHANGES)(data, at, rng, words)
    return data


def cut(data: bytes, rng: Random) -> Case:
    """In one piece, in a few, or byte by byte, with turns of the loop between some of them."""
    how = rng.random()
    if how < 0.4 or len(data) < 2:
        return (data,)
    if how < 0.45 and len(data) < 600:
        places = list(range(1, len(data)))
    else:
        places = sorted({rng.randrange(1, len(data)) for _ in range(rng.randint(1, 6))})
    turns = rng.choice((0.0, 0.5, 1.0))
    pieces: list[bytes] = []
    for start, end in zip([0, *places], [*places, len(data)], strict=True):
        pieces.append(data[start:end])
        if rng.random() < turns:
            pieces.append(b"")
    return tuple(pieces)


def _put_in(data: bytes, at: int, rng: Random, words: Sequence[bytes]) -> bytes:
    return data[:at] + rng.choice(words) + data[at:]


def _put_over(data: bytes, at: int, rng: Random, words: Sequence[bytes]) -> bytes:
    word = rng.choice(words)
    return data[:at] + word + data[at + len(word) :]


def _put_byte(data: bytes, at: int, rng: Random, _: Sequence[bytes]) -> bytes:
    return data[:at] + bytes((rng.randrange(256),)) + data[at + 1 :]


def _flip(data: bytes, at: int, rng: Random, _: Sequence[bytes]) -> bytes:
    if at == len(data):
        return data
    return data[:at] + bytes((data[at] ^ 1 << rng.randrange(8),)) + data[at + 1 :]


def _drop(data: bytes, at: int, rng: Random, _: Sequence[bytes]) -> bytes:
    return data[:at] + data[at + rng.choice((1, 1, 2, 4, 16)) :]


def _repeat(data: bytes, at: int, rng: Random, _: Sequence[bytes]) -> bytes:
    end = at + rng.choice((1, 2, 8, 40, 200))
    return data[:end] + data[at:]


def _move(data: bytes, at: int, rng: Random, _: Sequence[bytes]) -> bytes:
    end = min(len(data), at + rng.choice((2, 8, 40)))
    part, rest = data[at:end], data[:at] + data[end:]
    to = rng.randrange(len(rest) + 1)
    return rest[:to] + part + rest[to:]


def _end(data: bytes, at: int, rng: Random, _: Sequence[bytes]) -> bytes:
    return data[:at] if rng.random() < 0.5 else data


_CHANGES: Final[tuple[Callable[[bytes, int, Random, Sequence[bytes]], bytes], ...]] = (
    _put_in,
    _put_in,
    _put_over,
    _put_byte,
    _flip,
    _drop,
    _repeat,
    _move,
    _end,
)
