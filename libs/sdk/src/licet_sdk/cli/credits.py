"""Commands of credits: prepaid units of a plan."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from licet_sdk.cli.money import format_amount, parse_amount
from licet_sdk.cli.output import Output
from licet_sdk.cli.session import connect

MAX_PLAN_ID = 2**256 - 1
MAX_UNITS = 2**64 - 1
Token = Annotated[str, typer.Argument(help="Token of the series, an address.")]
Units = Annotated[int, typer.Argument(help="How many units.", min=1, max=MAX_UNITS)]
app = typer.Typer(no_args_is_help=True)


@app.command("open")
def open_(
    context: typer.Context,
    plan_id: Annotated[int, typer.Argument(help="Plan whose units are sold.", min=1, max=MAX_PLAN_ID)],
    unit_price: Annotated[str, typer.Option(help="Price of a unit, for example 0.002.")],
    supply: Annotated[int, typer.Option(help="Units that are ever sold.", min=1, max=MAX_UNITS)],
    until: Annotated[int, typer.Option(help="When unused units end, Unix seconds.", min=1, max=MAX_UNITS)],
    bound: Annotated[bool, typer.Option(help="Units do not move between holders.")] = False,
) -> None:
    """Puts prepaid units of a plan on sale."""
    output: Output = context.obj
    price = parse_amount(unit_price)
    client = connect(context)
    with output.step("opening the series"):
        token = client.credits.open(
            plan_id, unit_price=price, supply=supply, expires_at=until, transferable=not bound
        )
    output.show(
        {
            "token": token,
            "plan_id": plan_id,
            "unit_price": format_amount(price),
            "supply": supply,
            "expires_at": until,
        },
        "series opened",
    )


@app.command("show")
def show(context: typer.Context, token: Token) -> None:
    """What a series sells, what was sold of it, and what the wallet holds."""
    output: Output = context.obj
    series = connect(context).credits.show(token)
    output.show(asdict(series) | {"unit_price": format_amount(series.unit_price)}, "credits")


@app.command("buy")
def buy(
    context: typer.Context,
    token: Token,
    units: Units,
    recipient: Annotated[str, typer.Option(help="Who receives them; default: the payer.")] = "",
) -> None:
    """Pays for units."""
    output: Output = context.obj
    client = connect(context)
    with output.step("buying credits"):
        price, sent = client.credits.buy(token, units, recipient)
    shown = {"token": token, "units": units, "price": format_amount(price), "tx_hash": sent.tx_hash}
    output.show(shown, "credits bought")


@app.command("lock")
def lock(context: typer.Context, token: Token, units: Units) -> None:
    """Deposits units in the escrow, where calls use them; unused ones come back by `licet exit`."""
    output: Output = context.obj
    client = connect(context)
    with output.step("locking credits"):
        deposit_id, sent = client.credits.lock(token, units)
    output.show({"deposit_id": deposit_id, "units": units, "tx_hash": sent.tx_hash}, "credits locked")


@app.command("accept")
def accept(
    context: typer.Context,
    token: Token,
    units: Annotated[
        int, typer.Option(help="Units that are settled a day at most; default: all.", min=0, max=MAX_UNITS)
    ] = 0,
) -> None:
    """As the operator: lets settlements draw units of a series. What is used of it is not settled before."""
    output: Output = context.obj
    client = connect(context)
    with output.step("accepting the series"):
        sent = client.credits.accept(token, units)
    cap = sent.events["SettlerCapSet"]
    output.show(
        {"token": token, "units": cap["cap"], "from": cap["effectiveAt"], "tx_hash": sent.tx_hash}, "accepted"
    )


@app.command("expire")
def expire(
    context: typer.Context,
    token: Token,
    holders: Annotated[list[str], typer.Argument(help="Addresses whose unused units end.")],
) -> None:
    """After the end of a series: makes unused units revenue of its asset."""
    output: Output = context.obj
    client = connect(context)
    with output.step("ending unused units"):
        amount = client.credits.expire(token, holders)
    output.show({"token": token, "revenue": format_amount(amount)}, "units ended")
