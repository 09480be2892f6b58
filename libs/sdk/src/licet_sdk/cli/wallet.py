"""Commands of a wallet: buy, deposit, keys and claims."""

from __future__ import annotations

from typing import Annotated

import typer

from licet_sdk.cli.money import format_amount, parse_amount, parse_units
from licet_sdk.cli.output import Output
from licet_sdk.cli.session import connect
from licet_sdk.errors import ChainError

MAX_PLAN_ID = MAX_LICENSE_ID = 2**256 - 1
MAX_TIME = 2**64 - 1
LicenseId = Annotated[int, typer.Argument(help="License that the wallet holds.", min=1, max=MAX_LICENSE_ID)]
key = typer.Typer(no_args_is_help=True)


def buy(
    context: typer.Context,
    plan_id: Annotated[int, typer.Argument(help="Plan to buy a license from.", min=1, max=MAX_PLAN_ID)],
    recipient: Annotated[str, typer.Option(help="Who receives the license; default: the payer.")] = "",
) -> None:
    """Pays a plan's price and receives a license for one period."""
    output: Output = context.obj
    client = connect(context)
    with output.step("buying the license"):
        token_id, sent = client.chain.buy(plan_id, recipient)
    bought = sent.events["LicensePurchased"]
    output.show(
        {
            "license": token_id,
            "plan_id": plan_id,
            "price": format_amount(bought["price"]),
            "end_time": bought["endTime"],
            "tx_hash": sent.tx_hash,
        },
        "license bought",
    )


def trial(
    context: typer.Context,
    plan_id: Annotated[int, typer.Argument(help="Plan to try.", min=1, max=MAX_PLAN_ID)],
) -> None:
    """Begins the wallet's one free trial of a plan."""
    output: Output = context.obj
    client = connect(context)
    with output.step("beginning the trial"):
        token_id, sent = client.chain.start_trial(plan_id)
    said = sent.events["LicensePurchased"]
    output.show(
        {"license": token_id, "plan_id": plan_id, "end_time": said["endTime"], "tx_hash": sent.tx_hash},
        "trial begun",
    )


def migrate(
    context: typer.Context,
    license_id: LicenseId,
) -> None:
    """Takes a license into the next generation of its contract."""
    output: Output = context.obj
    client = connect(context)
    with output.step("moving the license"):
        sent = client.chain.migrate_license(license_id)
    output.show({"license": license_id, "tx_hash": sent.tx_hash}, "license moved")


def delegate(
    context: typer.Context,
    license_id: LicenseId,
    user: Annotated[str, typer.Argument(help="Address that uses the license instead of its holder.")],
    until: Annotated[int, typer.Option(help="Unix seconds; default: the license's end.", max=MAX_TIME)] = 0,
    irrevocable: Annotated[bool, typer.Option(help="Cannot be taken back; locks the license.")] = False,
) -> None:
    """Lets another account use a license until a time within its term."""
    output: Output = context.obj
    client = connect(context)
    with output.step("delegating the license"):
        end = until or int(client.chain.call("License", "endTime", license_id))
        sent = client.chain.delegate_license(license_id, user, end, revocable=not irrevocable)
    said = sent.events["UpdateUser"]
    output.show(
        {"license": license_id, "user": said["user"], "until": said["expires"], "tx_hash": sent.tx_hash},
        "license delegated",
    )


def undelegate(
    context: typer.Context,
    license_id: LicenseId,
) -> None:
    """Takes a delegated license back, or gives it back as its user."""
    output: Output = context.obj
    client = connect(context)
    with output.step("ending the delegation"):
        sent = client.chain.end_delegation(license_id)
    output.show({"license": license_id, "tx_hash": sent.tx_hash}, "delegation ended")


def deposit(
    context: typer.Context,
    operator: Annotated[str, typer.Argument(help="Address of the operator that may draw for use.")],
    amount: Annotated[str, typer.Argument(help="For example 25 or 9.90.")],
) -> None:
    """Locks money in the escrow for use beyond a plan's included units; it can be taken back after the exit delay."""
    output: Output = context.obj
    client = connect(context)
    with output.step("depositing"):
        deposit_id, sent = client.chain.deposit(operator, parse_amount(amount))
    total = format_amount(sent.events["Deposited"]["total"])
    output.show({"deposit_id": deposit_id, "spendable": total, "tx_hash": sent.tx_hash}, "deposited")


def exit_(
    context: typer.Context,
    deposit_id: Annotated[str, typer.Argument(help="Id of the deposit, 0x and 64 hex digits.")],
    amount: Annotated[str, typer.Argument(help="For example 25 or 9.90; of credits, a number of units.")],
) -> None:
    """Takes money or units out of a deposit; they can be withdrawn after the exit delay."""
    output: Output = context.obj
    client = connect(context)
    with output.step("asking for the exit"):
        is_units = client.exits.is_units(client.exits.token_of(deposit_id))
        asked = client.exits.request(deposit_id, parse_units(amount) if is_units else parse_amount(amount))
    shown = {"exit": asked.exit_id, "unlock_time": asked.unlock_time, "tx_hash": asked.tx_hash}
    output.show(shown, "exit requested")


def withdraw(
    context: typer.Context,
    exit_id: Annotated[int, typer.Argument(help="Exit that has unlocked.", min=1, max=MAX_LICENSE_ID)],
) -> None:
    """Pays an exit out to its payer, less what settlements drew from it."""
    output: Output = context.obj
    client = connect(context)
    with output.step("withdrawing"):
        amount, token, sent = client.exits.withdraw(exit_id)
    shown = str(amount) if client.exits.is_units(token) else format_amount(amount)
    output.show({"exit": exit_id, "amount": shown, "token": token, "tx_hash": sent.tx_hash}, "withdrawn")


@key.command("create")
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the key is for.")] = "default",
    mandate: Annotated[
        str, typer.Option(help="Id of a mandate of this wallet: the key spends by it alone.")
    ] = "",
) -> None:
    """Signs in with the wallet and makes an API key. It is shown this once; keep it."""
    output: Output = context.obj
    client = connect(context)
    with output.step("signing in"):
        login = client.licensing.login(client.chain.chain_id)
    made = client.licensing.create_key(name, mandate)
    output.show(
        {"key": made["key"], "id": made["id"], "name": name, "account_id": login["account_id"]}, "key"
    )


def claim(
    context: typer.Context,
    slugs: Annotated[
        list[str], typer.Argument(help="Assets whose revenue to distribute first, children before parents.")
    ],
) -> None:
    """Releases what settlements held for the assets, distributes their revenue and claims what the wallet is owed."""
    output: Output = context.obj
    client = connect(context)
    assets = [client.chain.asset_id(slug) for slug in slugs]
    with output.step("releasing what settlements held"):
        released = client.holds.release(assets)
        waiting = [hold for asset_id in assets for hold in client.holds.of(asset_id)]
    held, until = sum(hold.amount for hold in waiting), max((hold.release_at for hold in waiting), default=0)
    with output.step("claiming"):
        try:
            amount, sent = client.chain.claim(assets)
        except ChainError as error:
            if not held or error.code != "RevenueRouter_NothingToClaim":
                raise
            raise ChainError(
                "revenue_held",
                f"{format_amount(held)} is held until {until} (Unix time), so that payers can dispute it",
                "claim again then",
            ) from error
    output.show(
        {
            "claimed": format_amount(amount),
            "released": format_amount(released),
            "held": format_amount(held),
            "held_until": until,
            "tx_hash": sent.tx_hash,
        },
        "claimed",
    )
