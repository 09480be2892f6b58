"""`kill -9` of each part in the middle of calls: invariants 1, 2, 4 and 5 hold when all is quiet again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from e2e.demo import books, story
from e2e.observe import eventually
from e2e.scenarios.conftest import Buyer, Installation
from e2e.traffic import Seen, Traffic

DEPOSIT = 50_000_000
BEFORE, AFTER = 60, 60
QUIET_S = 60.0
PARTS = ["gateway-1", "licensing", "indexer", "billing", "vault", "postgres", "redis", "kafka", "triton"]
# Only a gateway's own death can leave a call answered and not yet logged as such: one progress step a killed worker,
# and the harness sends one call at a time.
LOST_STEPS = {"gateway-1": 1}


@pytest.fixture(scope="module")
def buyers(make_buyer: Callable[..., Buyer]) -> dict[str, Buyer]:
    """One buyer for each part. They buy side by side, because each waits for several final blocks."""
    parts = [*PARTS, "chain"]
    with ThreadPoolExecutor(len(parts)) as pool:
        return dict(zip(parts, pool.map(lambda _: make_buyer(deposit=DEPOSIT), parts), strict=True))


@pytest.mark.parametrize("part", PARTS)
def test_a_killed_part_loses_and_doubles_nothing(
    part: str,
    installation: Installation,
    buyers: dict[str, Buyer],
    traffic: Callable[[Buyer], Traffic],
) -> None:
    buyer = buyers[part]
    with traffic(buyer) as stream:
        stream.wait_answered(BEFORE)
        installation.stack.kill(part)
        installation.stack.restart(part)
        stream.wait_answered(AFTER)
    _books_agree(installation, buyer, stream.seen, LOST_STEPS.get(part, 0))


def test_a_killed_chain_comes_back_at_its_last_saved_block_and_is_settled_again(
    installation: Installation,
    buyers: dict[str, Buyer],
    traffic: Callable[[Buyer], Traffic],
) -> None:
    buyer = buyers["chain"]
    with traffic(buyer) as stream:
        stream.wait_answered(BEFORE)
        installation.stack.kill("chain")
        installation.stack.restart("chain")
        stream.wait_answered(AFTER)
    world = installation.world
    head = eventually(lambda: world.chain.w3.eth.block_number, "the chain answers")
    eventually(
        lambda: world.rows("indexer", "select 1 from block where number > $1 and canonical", head),
        "the mirror follows the chain that came back",
    )
    _books_agree(installation, buyer, stream.seen, 0)


def _books_agree(installation: Installation, buyer: Buyer, seen: Seen, lost_steps: int) -> None:
    world, notes = installation.world, installation.notes
    eventually(
        lambda: _billed(installation, buyer) >= seen.units - lost_steps, "every answer is billed", QUIET_S
    )
    eventually(lambda: books.quiet(world, buyer.license_id, buyer.deposit_id), "no lease is open", QUIET_S)
    charges = books.charges_by_request(world, notes[f"{buyer.name}_account"])
    missing = set(seen.answered) - set(charges)
    assert len(missing) <= lost_steps, f"answered and never billed: {missing}"
    # A call whose answer was cut on its way to the caller may be billed: it was served. Nothing else may.
    assert len(charges) - len(seen.answered) <= seen.lost + sum(seen.refused.values())
    assert all(charges[r] == units for r, units in seen.answered.items() if r in charges)
    billed = sum(charges.values())
    spent = books.spent_units(world, buyer.license_id, buyer.deposit_id, story.UNIT_PRICE)
    assert billed == spent, "licensing has spent what billing has billed"
    for grant in books.grants_of(world, buyer.license_id, buyer.deposit_id):
        parts = ("free", "leased", "suspended", "spent", "lapsed")
        assert grant["granted"] == sum(grant[p] for p in parts), grant
    world.operator().usage.settle()
    eventually(lambda: books.reconciled(world), "receipts, ledger and chain agree", QUIET_S)


def _billed(installation: Installation, buyer: Buyer) -> int:
    account = installation.notes[f"{buyer.name}_account"]
    return sum(books.charges_by_request(installation.world, account).values())
