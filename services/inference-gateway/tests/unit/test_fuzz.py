"""A short run of the fuzzers, always the same; and what they would say if something were wrong."""

from __future__ import annotations

from contextlib import closing

import pytest
from gateway_fuzz import corpus
from gateway_fuzz.__main__ import KINDS
from gateway_fuzz.engine import failure, fuzz, made
from licet_gateway.dataplane import framing, kserve

SEED = 1
# A few seconds together; `make fuzz` goes on from there.
CASES = {"http": 6_000, "reader": 5_000, "h2": 2_500, "kserve": 10_000, "json": 5_000}


@pytest.mark.parametrize("name", KINDS)
def test_mutated_requests_find_nothing(name: str) -> None:
    with closing(KINDS[name][0]()) as kind:
        found = list(fuzz(kind, SEED, range(CASES[name])))
    assert not found, "\n".join(map(str, found))


@pytest.mark.parametrize("name", ["http", "h2"])
def test_what_is_worth_changing_passes_unchanged(name: str) -> None:
    with closing(KINDS[name][0]()) as kind:
        found = [failure(kind, (data,)) for data in corpus.of(name)]
    assert found
    assert not any(found)


def test_a_fault_is_found_made_small_and_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = kserve._fields

    def of_any_type(message: bytes, at: int, end: int, *most: int) -> list[tuple[int, int, int]]:
        return [(tag & ~7 | 2, start, stop) for tag, start, stop in fields(message, at, end, *most)]

    monkeypatch.setattr(kserve, "_fields", of_any_type)
    kind = KINDS["kserve"][0]()
    found = next(fuzz(kind, SEED, range(CASES["kserve"])))
    assert found.why.startswith(("another model", "other inputs"))
    assert failure(kind, made(kind, found.seed, found.number)) == found.why
    (small,) = found.case
    assert len(small) <= 40
    assert f"--only kserve --seed {SEED} --case {found.number}" in str(found)


def test_a_body_of_another_length_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = framing.LengthDecoder.feed

    def one_less(self: framing.LengthDecoder, data: bytes) -> tuple[bytes, bytes | None]:
        payload, behind = whole(self, data)
        return (payload, behind) if behind is None else (payload[:-1], behind)

    monkeypatch.setattr(framing.LengthDecoder, "feed", one_less)
    for name in ("http", "reader"):
        with closing(KINDS[name][0]()) as kind:
            assert any(fuzz(kind, SEED, range(200), found_max=1))
