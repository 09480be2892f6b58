"""A payer asks for the receipt behind a charge on chain: the operator shows it by itself, or gives the draw back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from licet_sdk.chain import Chain
from licet_sdk.disputes import Dispute, Disputes, Status
from licet_sdk.errors import ChainError

from e2e.demo import books, calls
from e2e.observe import eventually
from e2e.scenarios.conftest import Buyer, Installation

DEPOSIT = 50_000_000
# The plan includes fewer rows, so that the deposit pays for some of them.
ROWS = 70
# A settlement is disputed for some seconds here, and a slow machine may need more of them for a challenge.
TRIES = 4


class Remembered:
    """Billing as it answered before it was stopped."""

    def __init__(self, answers: dict[str, dict[str, Any]]) -> None:
        self._answers = answers

    def receipt(self, request_id: str) -> dict[str, Any]:
        return self._answers[request_id]


def _settled_call(installation: Installation, buyer: Buyer) -> str:
    """A call that the deposit pays for, whose settlement was put on chain a moment ago."""
    world, notes = installation.world, installation.notes
    usage = world.client(buyer.name).usage
    known = {charge["request_id"] for charge in usage.charges()}
    calls.through(world, notes, buyer.name, calls.held_out(ROWS))

    def paid() -> str:
        new = [c for c in usage.charges() if c["request_id"] not in known and int(c["amount"])]
        return str(new[0]["request_id"]) if new else ""

    request_id = eventually(paid, "the call is charged to the deposit")
    world.operator().usage.settle()
    eventually(lambda: usage.receipt(request_id)["settlement"], "its settlement is on chain", 60)
    return request_id


def _challenged(
    installation: Installation, buyer: Buyer, challenge: Callable[[str], Dispute]
) -> tuple[str, Dispute]:
    """A challenge that came in time."""
    for _ in range(TRIES):
        request_id = _settled_call(installation, buyer)
        try:
            return request_id, challenge(request_id)
        except ChainError as error:
            if error.code != "UsageEscrow_WrongDisputeTime":
                raise
    raise AssertionError(f"{TRIES} challenges came too late")


def test_a_challenge_is_answered(installation: Installation, make_buyer: Callable[..., Buyer]) -> None:
    buyer = make_buyer(deposit=DEPOSIT)
    disputes = installation.world.client(buyer.name).disputes
    request_id, opened = _challenged(installation, buyer, disputes.challenge)
    assert opened.status is Status.OPEN
    assert opened.amount > 0
    eventually(lambda: disputes.show(request_id).status is Status.ANSWERED, "the operator answers", 30)
    with pytest.raises(ChainError) as refused:
        disputes.refund(request_id)
    assert refused.value.code == "UsageEscrow_WrongDisputeStatus"
    _books_agree(installation)


def test_a_challenge_without_an_answer_gives_the_draw_back(
    installation: Installation, make_buyer: Callable[..., Buyer]
) -> None:
    world = installation.world
    buyer = make_buyer(deposit=DEPOSIT)
    client = world.client(buyer.name)
    answers: dict[str, dict[str, Any]] = {}
    offline = Disputes(client.chain, Remembered(answers))  # type: ignore[arg-type]

    def challenge_while_nobody_answers(request_id: str) -> Dispute:
        answers[request_id] = client.usage.receipt(request_id)
        installation.stack.kill("billing")
        try:
            return offline.challenge(request_id)
        except ChainError:
            installation.stack.restart("billing")
            raise

    request_id, opened = _challenged(installation, buyer, challenge_while_nobody_answers)
    try:
        eventually(lambda: _now(client.chain) > opened.deadline, "the time to answer is over", 60)
        before = client.chain.balance()
        assert offline.refund(request_id) == opened.amount == client.chain.balance() - before
        assert offline.show(request_id).status is Status.REFUNDED
    finally:
        installation.stack.restart("billing")
    _books_agree(installation)
    kinds = world.rows(
        "billing",
        "select amount from ledger_transactions t join ledger_entries e"
        " on e.transaction_id = t.id where t.kind = 'draw_refunded' and amount > 0",
    )
    assert [int(row["amount"]) for row in kinds] == [opened.amount]


def _now(chain: Chain) -> int:
    return int(chain.w3.eth.get_block("latest")["timestamp"])


def _books_agree(installation: Installation) -> None:
    """Receipts, ledger and chain agree."""
    eventually(lambda: books.reconciled(installation.world), "receipts, ledger and chain agree", 60)
