"""No event of a contract is forgotten: it has a meaning, or it is ignored on purpose."""

from __future__ import annotations

from pathlib import Path

import licet_schemas.abi
import pytest
from licet_indexer.domain.catalogue import MEANINGS, WATCHED
from licet_indexer.domain.ignored import IGNORED, UNWATCHED
from licet_schemas.abi import load_abi

CONTRACTS = {file.stem for file in Path(licet_schemas.abi.__file__).parent.glob("*.json")}


def events(contract: str) -> set[str]:
    return {entry["name"] for entry in load_abi(contract) if entry["type"] == "event"}


def test_every_contract_is_watched_or_unwatched_on_purpose() -> None:
    assert {*WATCHED, *UNWATCHED} == CONTRACTS
    assert not UNWATCHED & set(WATCHED)
    assert IGNORED.keys() <= set(WATCHED)


@pytest.mark.parametrize("contract", WATCHED)
def test_every_event_has_a_meaning_or_is_ignored_on_purpose(contract: str) -> None:
    meant = {event for name, event in MEANINGS if name == contract}
    ignored = IGNORED.get(contract, frozenset())
    assert not meant & ignored
    assert meant | ignored == events(contract)
