"""Disputes about what was drawn: a payer asks for the receipt behind a charge, or has the draw of its line back.

>>> dispute = client.disputes.challenge(request_id)      # doctest: +SKIP
>>> client.disputes.refund(request_id)                   # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from enum import IntEnum
from typing import Any

from licet_schemas import settlement, sumtree
from web3 import Web3

from licet_sdk import receipts
from licet_sdk.chain import Chain
from licet_sdk.errors import ChainError
from licet_sdk.usage import Usage


class Status(IntEnum):
    """Life of the dispute about a line, as the escrow numbers it."""

    NONE = 0
    OPEN = 1
    ANSWERED = 2
    REFUNDED = 3


@dataclass(frozen=True, slots=True)
class Dispute:
    """The dispute about the line of a call. `amount` is what the line drew, in the token's smallest unit; `deadline` is
    until when the operator answers, Unix seconds."""

    line_id: str
    status: Status
    position: int
    deadline: int
    amount: int


class Disputes:
    """Disputes of the caller's wallet about calls that its deposits paid."""

    def __init__(self, chain: Chain, usage: Usage) -> None:
        self._chain = chain
        self._usage = usage

    def challenge(self, request_id: str) -> Dispute:
        """Asks the operator to show this call's receipt; within the dispute time of its settlement, once a line."""
        answer = self._settled(request_id)
        line = receipts.line_of(answer)
        position = sumtree.position(receipts.steps_of(answer), line.item.records)
        self._chain.send("UsageEscrow", "challenge", self._named(answer, line), position)
        return self._show(answer, line)

    def show(self, request_id: str) -> Dispute:
        """The dispute about the line of this call."""
        answer = self._settled(request_id)
        return self._show(answer, receipts.line_of(answer))

    def refund(self, request_id: str) -> int:
        """Takes back what the call's line drew, after a challenge that nobody answered in time; returns the amount."""
        answer = self._settled(request_id)
        sent = self._chain.send("UsageEscrow", "refund", self._named(answer, receipts.line_of(answer)))
        return int(sent.events["DrawRefunded"]["amount"])

    def _settled(self, request_id: str) -> dict[str, Any]:
        answer = self._usage.receipt(request_id)
        if answer["settlement"] is None:
            raise ChainError(
                "not_settled",
                "the call is not settled on chain, so there is nothing to dispute yet",
                "ask again after the next settlement",
            )
        return answer

    def _show(self, answer: dict[str, Any], line: settlement.Line) -> Dispute:
        named = self._named(answer, line)
        line_id = bytes(self._chain.call("UsageEscrow", "lineIdOf", *named[:3]))
        status, position, deadline, amount = self._chain.call("UsageEscrow", "disputeOf", line_id)
        return Dispute("0x" + line_id.hex(), Status(status), position, deadline, amount)

    @staticmethod
    def _named(answer: dict[str, Any], line: settlement.Line) -> tuple[Any, ...]:
        """The line with its proof, as the contract takes it."""
        settled = answer["settlement"]
        fields = (line.index, line.asset_id, line.token, *astuple(line.item))
        operator = Web3.to_checksum_address(settled["operator"])
        return operator, int(settled["batch"]), fields, receipts.proof_of(answer)
