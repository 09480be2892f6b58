"""Commands of a payer that disputes what was drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from licet_sdk.cli.money import format_amount
from licet_sdk.cli.output import Output
from licet_sdk.cli.session import connect

if TYPE_CHECKING:
    from licet_sdk.disputes import Dispute

RequestId = Annotated[str, typer.Argument(help="A call whose charge was settled, as `licet usage` names it.")]
dispute = typer.Typer(no_args_is_help=True)


@dispute.command("challenge")
def challenge(context: typer.Context, request_id: RequestId) -> None:
    """Asks the operator to show this call's receipt on chain, or to give back what its line drew."""
    output: Output = context.obj
    client = connect(context)
    with output.step("challenging"):
        found = client.disputes.challenge(request_id)
    output.show(_shown(found), "challenged")


@dispute.command("show")
def show(context: typer.Context, request_id: RequestId) -> None:
    """Where the dispute about this call's line stands."""
    output: Output = context.obj
    output.show(_shown(connect(context).disputes.show(request_id)), "dispute")


@dispute.command("refund")
def refund(context: typer.Context, request_id: RequestId) -> None:
    """Takes back what the call's line drew, after the deadline of a challenge that nobody answered."""
    output: Output = context.obj
    client = connect(context)
    with output.step("taking the draw back"):
        amount = client.disputes.refund(request_id)
    output.show({"refunded": format_amount(amount)}, "refunded")


def _shown(found: Dispute) -> dict[str, Any]:
    return {
        "line": found.line_id,
        "status": found.status.name.lower(),
        "amount": format_amount(found.amount),
        "deadline": found.deadline,
    }
