"""Commands of mandates: what an operator may draw, and no more."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from licet_sdk.cli.money import format_amount, parse_amount
from licet_sdk.cli.output import Output
from licet_sdk.cli.session import connect

MAX_COUNT = 2**32 - 1
MAX_TIME = 2**64 - 1
MIN_WINDOW_S = 60
MandateId = Annotated[str, typer.Argument(help="Id of the mandate, 0x and 64 hex digits.")]
mandate = typer.Typer(no_args_is_help=True)


@mandate.command("open")
def open_(  # noqa: PLR0913 - one option a term
    context: typer.Context,
    operator: Annotated[str, typer.Argument(help="Address of the operator that may draw.")],
    amount: Annotated[str, typer.Option(help="Most that is drawn for one window, for example 5 or 0.90.")],
    total: Annotated[str, typer.Option(help="Most that is drawn in all.")],
    calls: Annotated[int, typer.Option(help="Most calls of one window.", min=1, max=MAX_COUNT)],
    in_flight: Annotated[str, typer.Option(help="Most that is still drawn after revoking.")],
    window_s: Annotated[
        int, typer.Option("--window", help="Length of a window in seconds.", min=MIN_WINDOW_S, max=MAX_COUNT)
    ] = 86_400,
    grace_s: Annotated[
        int,
        typer.Option(
            "--grace", help="Seconds in which a window is settled after it; a window's at most.", min=0
        ),
    ] = 3600,
    begin: Annotated[int, typer.Option("--from", help="Unix seconds; default: now.", max=MAX_TIME)] = 0,
    until: Annotated[int, typer.Option(help="Unix seconds; default: 30 days later.", max=MAX_TIME)] = 0,
    asset: Annotated[
        list[str] | None, typer.Option(help="What may be used: owner/model. None: anything.")
    ] = None,
) -> None:
    """Lets an operator draw from the wallet's deposit within bounds."""
    from licet_sdk.mandates import Bounds  # noqa: PLC0415 - loads web3, which most commands do not need

    output: Output = context.obj
    window_amount, total_amount, cap = (parse_amount(text) for text in (amount, total, in_flight))
    client = connect(context)
    with output.step("opening the mandate"):
        assets = [client.chain.asset_id(slug) for slug in asset or ()]
        bounds = Bounds(
            operator=operator,
            window_amount=window_amount,
            total_amount=total_amount,
            in_flight_cap=cap,
            window_records=calls,
            window_length=window_s,
            grace=grace_s,
            valid_from=begin,
            valid_until=until,
            assets=assets,
        )
        drafted = client.mandates.draft(bounds)
        mandate_id, sent = client.mandates.open(drafted)
    output.show(
        {
            "mandate": mandate_id,
            "operator": drafted.operator,
            "valid_from": drafted.valid_from,
            "valid_until": drafted.valid_until,
            "tx_hash": sent.tx_hash,
        },
        "mandate opened",
    )


@mandate.command("show")
def show(context: typer.Context, mandate_id: MandateId) -> None:
    """What a mandate allows, what is left of it, and what was settled of its two newest windows."""
    output: Output = context.obj
    client = connect(context)
    state = client.mandates.show(mandate_id)
    money = ("window_amount", "remaining", "in_flight_cap")
    shown = asdict(state) | {name: format_amount(getattr(state, name)) for name in money}
    shown["uses"] = [{**asdict(use), "amount": format_amount(use.amount)} for use in state.uses]
    output.show(shown, "mandate")


@mandate.command("revoke")
def revoke(context: typer.Context, mandate_id: MandateId) -> None:
    """Forbids later use; what is in flight is settled within the cap."""
    output: Output = context.obj
    client = connect(context)
    with output.step("revoking the mandate"):
        revoked = client.mandates.revoke(mandate_id)
    output.show(
        {"mandate": mandate_id, **asdict(revoked), "remaining": format_amount(revoked.remaining)},
        "mandate revoked",
    )


@mandate.command("only")
def only(
    context: typer.Context,
    operator: Annotated[str, typer.Argument(help="Address of the operator.")],
    off: Annotated[bool, typer.Option("--off", help="Let it draw from the deposit itself again.")] = False,
) -> None:
    """Forbids an operator to draw from the wallet's deposit without a mandate or a voucher."""
    output: Output = context.obj
    client = connect(context)
    with output.step("setting how the deposit is drawn from"):
        until = client.mandates.only(operator, on=not off)
    output.show({"operator": operator, "mandates_only": not off, "from": until}, "done")
