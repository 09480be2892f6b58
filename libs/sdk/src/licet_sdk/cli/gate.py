"""Commands of those who keep the rules of regulated assets: issuers and officers."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from licet_sdk.cli.output import Output
from licet_sdk.cli.session import connect

if TYPE_CHECKING:
    from licet_sdk.gate import Gate

DAY_S = 86_400
MAX_DAYS = 730
Slug = Annotated[str, typer.Argument(help="owner/model")]
Account = Annotated[str, typer.Argument(help="Address of the holder.")]
gate = typer.Typer(no_args_is_help=True)


def _gate(context: typer.Context, slug: str) -> Gate:
    client = connect(context)
    return client.gate(client.chain.asset_id(slug))


@gate.command("show")
def show(context: typer.Context, slug: Slug, account: Account) -> None:
    """Shows what is known of an account, and what it may do with shares of the asset."""
    output: Output = context.obj
    rules = _gate(context, slug)
    standing = asdict(rules.standing(account))
    output.show({"regulated": rules.is_regulated(), "account": account, **standing}, "standing")


@gate.command("enrol")
def enrol(
    context: typer.Context,
    slug: Slug,
    account: Account,
    holder_class: Annotated[int, typer.Option("--class", help="Kind of holder.", min=1, max=255)],
    jurisdiction: Annotated[int, typer.Option(help="ISO 3166-1 numeric code.", min=1, max=999)],
    days: Annotated[int, typer.Option(help="How long it holds.", min=1, max=MAX_DAYS)] = 365,
) -> None:
    """Gives an account a credential, as an issuer of the asset."""
    from licet_sdk.gate import HolderTerms  # noqa: PLC0415 - loads web3, which most commands do not need

    output: Output = context.obj
    terms = HolderTerms(holder_class, jurisdiction, int(time.time()) + days * DAY_S)
    rules = _gate(context, slug)
    with output.step("enrolling"):
        sent = rules.enrol(account, terms)
    output.show({"account": account, **asdict(terms), "tx_hash": sent.tx_hash}, "enrolled")


@gate.command("revoke")
def revoke(context: typer.Context, slug: Slug, account: Account) -> None:
    """Takes an account's credential, as its issuer or the asset's officer."""
    output: Output = context.obj
    rules = _gate(context, slug)
    with output.step("revoking the credential"):
        sent = rules.revoke(account)
    output.show({"account": account, "tx_hash": sent.tx_hash}, "credential revoked")


@gate.command("freeze")
def freeze(
    context: typer.Context,
    slug: Slug,
    account: Account,
    lift: Annotated[bool, typer.Option("--lift", help="Lets it go on.")] = False,
) -> None:
    """Stops an account: it neither sends nor receives shares, and what it has earned waits. As the officer."""
    output: Output = context.obj
    rules = _gate(context, slug)
    with output.step("lifting the freeze" if lift else "freezing the account"):
        sent = rules.freeze(account, frozen=not lift)
    output.show(
        {"account": account, "frozen": not lift, "tx_hash": sent.tx_hash}, "released" if lift else "frozen"
    )
