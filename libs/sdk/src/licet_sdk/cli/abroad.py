"""Commands for assets that are sold on a chain that is not their home."""

from __future__ import annotations

from typing import Annotated

import typer

from licet_sdk.cli.output import Output
from licet_sdk.cli.session import connect

Slug = Annotated[str, typer.Argument(help="owner/model")]
ChainId = Annotated[int, typer.Option("--chain", help="Id of the chain that it is sold on.", min=1)]


def mirror(
    context: typer.Context,
    slug: Slug,
    chain_id: ChainId,
    owner: Annotated[str, typer.Option(help="Who sells and earns there; default: the wallet.")] = "",
    days: Annotated[int, typer.Option(help="How long it is sold, after the last report.", min=1, max=30)] = 7,
) -> None:
    """Lets an asset of the wallet be sold on another chain, once a reporter has told that chain who owns it."""
    output: Output = context.obj
    client = connect(context)
    mirrors = client.mirrors(chain_id)
    with output.step("signing for the other chain"):
        signed = mirrors.sign(slug, owner, days * 86_400)
    with output.step("binding the mirror"):
        asset_id, sent = mirrors.bind(signed)
    output.show(
        {
            "slug": slug,
            "asset_id": asset_id,
            "chain_id": chain_id,
            "owner": signed.statement.owner,
            "epoch": signed.statement.epoch,
            "valid_until": signed.statement.valid_until,
            "tx_hash": sent.tx_hash,
        },
        "on sale there",
    )


def report(context: typer.Context, slug: Slug, chain_id: ChainId) -> None:
    """As a reporter, says on another chain who owns the asset at home; a newer owner closes its mirror there."""
    output: Output = context.obj
    client = connect(context)
    with output.step("reporting the owner"):
        sent = client.mirrors(chain_id).report(slug)
    said = sent.events["OwnerReported"]
    output.show(
        {
            "slug": slug,
            "chain_id": chain_id,
            "owner": said["owner"],
            "epoch": said["epoch"],
            "tx_hash": sent.tx_hash,
        },
        "reported",
    )
