"""Cases from seeds: made, checked, replayed by their number, and made small when they fail.

A case is nothing but its pieces of bytes: what is expected of it is worked out from them, so that what is left of a
case that was cut down is still a case. An empty piece is a turn of the loop; between other pieces there is none.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

Case = tuple[bytes, ...]

# Checks that one failing case may cost to be made small.
SHRINKS_MAX: Final = 2_000
# Of one piece, so much is printed.
SHOWN_MAX: Final = 1_200


class WrongError(Exception):
    """The gateway did what it must not do."""


class Kind(Protocol):
    """One way into the gateway."""

    @property
    def name(self) -> str: ...

    def make(self, rng: Random) -> Case:
        """A case, by these random numbers alone."""

    def check(self, case: Case) -> None:
        """Raises WrongError, or whatever the gateway let through."""

    def close(self) -> None:
        """Gives back what it stands on."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A case that failed, small, and how to make it again."""

    kind: str
    seed: int
    number: int
    why: str
    case: Case

    def __str__(self) -> str:
        pieces = "\n".join(f"    {_shortened(repr(piece))}" for piece in self.case)
        return (
            f"FOUND {self.kind}: {self.why}\n  again: make fuzz "
            f'ARGS="--only {self.kind} --seed {self.seed} --case {self.number}"\n  smallest:\n{pieces}'
        )


def _shortened(text: str) -> str:
    """Long bodies are mostly blanks."""
    return text if len(text) <= SHOWN_MAX else f"{text[: SHOWN_MAX // 2]} … {text[-SHOWN_MAX // 2 :]}"


def made(kind: Kind, seed: int, number: int) -> Case:
    """The case of this number."""
    return kind.make(Random(f"{seed}:{kind.name}:{number}"))


def fuzz(kind: Kind, seed: int, numbers: range, found_max: int = 3) -> Iterator[Finding]:
    """Checks the cases of these numbers; gives what failed, up to `found_max`."""
    found = 0
    for number in numbers:
        case = made(kind, seed, number)
        why = failure(kind, case)
        if why is None:
            continue
        yield Finding(kind.name, seed, number, why, shrunk(kind, case, why))
        found += 1
        if found == found_max:
            return


def failure(kind: Kind, case: Case) -> str | None:
    """What is wrong, or None."""
    try:
        kind.check(case)
    except Exception as error:  # noqa: BLE001 - whatever escapes the gateway is what is looked for
        return _told(error)
    return None


def shrunk(kind: Kind, case: Case, why: str) -> Case:
    """The same failure of less: first fewer pieces, then fewer bytes of each."""
    left = SHRINKS_MAX

    def fails(smaller: Case) -> bool:
        nonlocal left
        left -= 1
        told = failure(kind, smaller) if left > 0 else None
        return told is not None and told.partition(":")[0] == why.partition(":")[0]

    whole = (b"".join(case),)
    if len(case) > 1 and fails(whole):
        case = whole
    size = max(1, len(case) // 2)
    while len(case) > 1 and size:
        case, size = _without_pieces(case, size, fails), size // 2
    for index in range(len(case)):
        size = max(1, len(case[index]) // 2)
        while size:
            case, size = _without_bytes(case, index, size, fails), size // 2
    return case


class _Fails(Protocol):
    def __call__(self, smaller: Case) -> bool: ...


def _without_pieces(case: Case, size: int, fails: _Fails) -> Case:
    at = 0
    while at < len(case):
        smaller = case[:at] + case[at + size :]
        if smaller and fails(smaller):
            case = smaller
        else:
            at += size
    return case


def _without_bytes(case: Case, index: int, size: int, fails: _Fails) -> Case:
    at = 0
    while at < len(case[index]):
        piece = case[index][:at] + case[index][at + size :]
        smaller = (*case[:index], piece, *case[index + 1 :])
        if piece and fails(smaller):
            case = smaller
        else:
            at += size
    return case


def _told(error: Exception) -> str:
    if isinstance(error, WrongError):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {last.name}: {error}"
