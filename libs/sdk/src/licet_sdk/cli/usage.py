"""Commands of an API consumer: call, look at the bill, verify it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from licet_sdk.cli.output import Output
from licet_sdk.cli.session import connect
from licet_sdk.errors import ConfigError

if TYPE_CHECKING:
    from licet_sdk.inference import Tensors

receipt = typer.Typer(no_args_is_help=True)


def infer(
    context: typer.Context,
    slug: Annotated[str, typer.Argument(help="owner/model")],
    inputs: Annotated[Path, typer.Argument(help='JSON file: {"<input>": [[…], …]}; numbers become FP32.')],
    replica: Annotated[int, typer.Option(help="Gateway replica to call.", min=0)] = 0,
) -> None:
    """Calls a model."""
    output: Output = context.obj
    answer = connect(context).infer(slug, _tensors(inputs), replica=replica)
    output.show(
        {
            **{name: value.tolist() for name, value in answer.outputs.items()},
            "request_id": answer.request_id,
            "units": answer.units,
            "units_remaining": answer.units_remaining,
        }
    )


def _tensors(path: Path) -> Tensors:
    import numpy as np  # noqa: PLC0415 - only this command needs it

    try:
        data = json.loads(path.read_bytes())
        return {str(name): np.asarray(value, dtype=np.float32) for name, value in data.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError("input_invalid", f"{path}: {error}", 'write {"<input>": [[1.0, 2.0]]}') from error


def usage(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="How many calls to list.", min=1, max=10_000)] = 20,
) -> None:
    """Lists the account's metered calls, newest first."""
    output: Output = context.obj
    rows = list(itertools.islice(connect(context).usage.charges(), limit))
    output.rows(rows, ["request_id", "asset_id", "units", "amount", "state"], "usage")


@receipt.command("verify")
def verify(
    context: typer.Context,
    request_id: Annotated[str, typer.Argument(help="From the x-licet-request-id header, or `licet usage`.")],
) -> None:
    """Checks a receipt against the chain: signature, certificate, charge and settlement. Trusts no service."""
    from licet_sdk import receipts  # noqa: PLC0415 - loads web3, which most commands do not need

    output: Output = context.obj
    client = connect(context)
    checks = receipts.verify(client.usage.receipt(request_id), client.chain, request_id)
    output.rows(
        [{"check": c.name, "result": c.detail} for c in checks], ["check", "result"], f"receipt {request_id}"
    )
