"""Commands of a publisher: assets and plans."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from licet_sdk.cli.money import parse_amount
from licet_sdk.cli.output import Output
from licet_sdk.cli.session import connect
from licet_sdk.errors import ChainError, ConfigError

if TYPE_CHECKING:
    from licet_sdk.client import Client
    from licet_sdk.lineage import Parent

asset = typer.Typer(no_args_is_help=True)
plan = typer.Typer(no_args_is_help=True)


@asset.command("publish")
def publish(
    context: typer.Context,
    slug: Annotated[str, typer.Argument(help="owner/model")],
    folder: Annotated[Path, typer.Argument(help="Folder with manifest.json and the artefacts it names.")],
    parent: Annotated[
        list[str] | None,
        typer.Option(help="What a new asset was derived from: owner/model:2000 gives it 20 % for good."),
    ] = None,
) -> None:
    """Uploads a version, registers the asset when it is new, and publishes and activates the version on chain."""
    from licet_sdk.lineage import Parent  # noqa: PLC0415 - loads web3, which most commands do not need

    output: Output = context.obj
    parents = [Parent.parse(text) for text in parent or ()]
    client = connect(context)
    with output.step("uploading artefacts"):
        digest, _ = client.vault.upload(folder)
    with output.step("registering the asset"):
        asset_id = _registered(client, slug, parents)
    with output.step("publishing the version"):
        sent = client.chain.publish_version(asset_id, digest, f"{client.config.vault}/v1/manifests/{digest}")
    output.show(
        {"slug": slug, "asset_id": asset_id, "version_digest": digest, "tx_hash": sent and sent.tx_hash},
        "published" if sent else "published before",
    )


def _registered(client: Client, slug: str, parents: list[Parent]) -> str:
    """The asset's id, which is registered when it is new. Lineage is declared then or never."""
    if not parents:
        return client.chain.find_or_register(slug)
    try:
        asset_id = client.chain.asset_id(slug)
    except ChainError as error:
        if error.code != "asset_unknown":
            raise
        return client.lineage.register(slug, parents)
    if set(client.lineage.parents(asset_id)) != set(parents):
        raise ChainError(
            "lineage_differs", f"{slug} was registered with another lineage", "publish it under a new name"
        )
    return asset_id


@asset.command("share")
def share(
    context: typer.Context,
    slug: Annotated[str, typer.Argument(help="owner/model")],
    contributor: Annotated[
        list[str] | None, typer.Option(help="Who gets a part, by weight: 0x…:3. None ends the split.")
    ] = None,
    part_bp: Annotated[
        int, typer.Option("--part", help="Basis points of later revenue for all of them.", min=0, max=10_000)
    ] = 0,
) -> None:
    """Splits what the asset earns from now on with contributors."""
    from licet_sdk.lineage import Contributor  # noqa: PLC0415 - as above

    output: Output = context.obj
    contributors = [Contributor.parse(text) for text in contributor or ()]
    client = connect(context)
    with output.step("splitting later revenue"):
        sent = client.lineage.share(client.chain.asset_id(slug), part_bp, contributors)
    output.show({"slug": slug, "part_bp": part_bp, "tx_hash": sent.tx_hash}, "split")


@plan.command("create")
def create(  # noqa: PLR0913 - one option a term
    context: typer.Context,
    slug: Annotated[str, typer.Argument(help="owner/model")],
    server: Annotated[str, typer.Option(help="Address of the operator that serves the plan.")],
    terms: Annotated[Path, typer.Option(help="The license text; its sha256 goes on chain.")],
    price: Annotated[str, typer.Option(help="Price of one period, for example 25 or 9.90.")] = "0",
    period_s: Annotated[int, typer.Option("--period", help="Length of a period in seconds.", min=1)] = 30
    * 86400,
    included_units: Annotated[
        int, typer.Option("--included", help="Units that the price includes.", min=0)
    ] = 0,
    unit_price: Annotated[str, typer.Option(help="Price of each further unit, drawn from a deposit.")] = "0",
    metering_rule: Annotated[
        str,
        typer.Option(
            "--metering", help="request, rows:<input name>, bytes, seconds, input_tokens or output_tokens."
        ),
    ] = "request",
    transferable: Annotated[bool, typer.Option(help="Whether a license may change hands.")] = True,
    commercial: Annotated[bool, typer.Option(help="Whether it may be used commercially.")] = True,
    optimistic_units: Annotated[
        int, typer.Option(help="Units usable before the purchase is final.", min=0)
    ] = 0,
    supply: Annotated[int, typer.Option(help="Licenses ever sold; 0: no limit.", min=0)] = 0,
    per_recipient: Annotated[int, typer.Option(help="Licenses for one account; 0: no limit.", min=0)] = 0,
    trial_period_s: Annotated[
        int, typer.Option("--trial-period", help="Length of a free first term in seconds.", min=0)
    ] = 0,
    trial_units: Annotated[int, typer.Option(help="Units that the trial includes.", min=0)] = 0,
    seats: Annotated[int, typer.Option(help="Calls of one license at once; 0: no limit.", min=0)] = 0,
) -> None:
    """Puts immutable sale terms on chain."""
    from licet_sdk.chain import PlanOffer  # noqa: PLC0415 - loads web3, which most commands do not need

    output: Output = context.obj
    client = connect(context)
    try:
        digest = "0x" + sha256(terms.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError("config_invalid", f"terms: {error}", "name a readable file") from error
    offer = PlanOffer(
        price=parse_amount(price),
        period_s=period_s,
        included_units=included_units,
        unit_price=parse_amount(unit_price),
        metering_rule=metering_rule,
        transferable=transferable,
        commercial=commercial,
        optimistic_units=optimistic_units,
        supply=supply,
        per_recipient=per_recipient,
        trial_period_s=trial_period_s,
        trial_units=trial_units,
        seats=seats,
        server=server,
        terms_digest=digest,
    )
    with output.step("creating the plan"):
        plan_id, sent = client.chain.create_plan(client.chain.asset_id(slug), offer)
    output.show(
        {"plan_id": plan_id, "slug": slug, "terms_digest": digest, "tx_hash": sent.tx_hash}, "plan created"
    )
