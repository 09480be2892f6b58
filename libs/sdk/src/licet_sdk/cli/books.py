"""Commands of an operator: the books."""

from __future__ import annotations

import typer

from licet_sdk.cli.output import Output
from licet_sdk.cli.session import connect
from licet_sdk.errors import VerificationFailed


def reconcile(context: typer.Context) -> None:
    """Compares receipts, ledger and chain; exit code 6 when they differ."""
    output: Output = context.obj
    report = connect(context).usage.reconcile()
    output.show(report, "reconciliation")
    if report["differences"]:
        raise VerificationFailed(
            "books_differ",
            f"{len(report['differences'])} differences",
            "each names what differs and by how much",
        )
