"""The `licet` command: publish, price, buy, call, account for and claim, from a terminal or a script.

Exit codes: 0 done, 1 failed, 2 wrong use or configuration, 3 unreachable, 4 refused, 5 refused by a contract,
6 verification failed.
"""

from __future__ import annotations

import sys
from typing import Annotated

import stamina
import typer
from typer._click.exceptions import ClickException  # typer's own copy of click has no public name

from licet_sdk.cli import abroad, books, dispute, doctor, gate, mandate, publisher, usage, wallet
from licet_sdk.cli import credits as prepaid
from licet_sdk.cli.output import Output
from licet_sdk.errors import ConfigError, LicetError

app = typer.Typer(
    name="licet",
    help="AI models as on-chain assets: owned, licensed, metered and paid for.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _root(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON value instead of a table.")] = False,
) -> None:
    """Settings come from LICET_* variables or the local stack's endpoints file; `licet doctor` checks them."""
    context.obj = Output(as_json=as_json)


app.command("doctor")(doctor.doctor)
publisher.asset.command("mirror")(abroad.mirror)
publisher.asset.command("report")(abroad.report)
app.add_typer(publisher.asset, name="asset", help="Assets and their versions.")
app.add_typer(publisher.plan, name="plan", help="Sale terms.")
app.command("buy")(wallet.buy)
app.command("trial")(wallet.trial)
app.command("migrate")(wallet.migrate)
app.command("deposit")(wallet.deposit)
app.command("exit")(wallet.exit_)
app.command("withdraw")(wallet.withdraw)
app.command("delegate")(wallet.delegate)
app.command("undelegate")(wallet.undelegate)
app.add_typer(wallet.key, name="key", help="API keys.")
app.command("infer")(usage.infer)
app.command("usage")(usage.usage)
app.add_typer(usage.receipt, name="receipt", help="Signed proof of what was billed.")
app.command("claim")(wallet.claim)
app.command("reconcile")(books.reconcile)
app.add_typer(gate.gate, name="gate", help="Who may hold the shares of a regulated asset.")
app.add_typer(dispute.dispute, name="dispute", help="What was drawn, and the receipts behind it.")
app.add_typer(prepaid.app, name="credits", help="Prepaid units of plans.")
app.add_typer(mandate.mandate, name="mandate", help="What an operator may draw from a deposit.")


def main() -> None:
    """Entry point; turns every LicetError into one line, its remedy and its exit code.

    With --json every error is one JSON value on stderr, those of typer (unknown options, missing arguments) too.
    """
    argv = sys.argv[1:]
    as_json = "--json" in argv
    # Retries would be logged to stdout, between the lines of the answer.
    stamina.instrumentation.set_on_retry_hooks([])
    # --json is accepted after the command as well, where people type it.
    if as_json:
        argv = ["--json", *(a for a in argv if a != "--json")]
    try:
        sys.exit(app(args=argv, standalone_mode=not as_json) or 0)
    except LicetError as error:
        failed = error
    except ClickException as error:
        failed = ConfigError("wrong_use", error.format_message(), "see `licet --help`")
    Output(as_json=as_json).fail(failed)
    raise SystemExit(failed.exit_code)


if __name__ == "__main__":
    main()
