"""Money leaves the escrow as it came: asked for by a command, and paid out when the exit delay is over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from licet_sdk.cli.money import parse_amount

from e2e.demo import books
from e2e.observe import eventually
from e2e.scenarios.conftest import FUNDS, Installation, pass_time
from e2e.terminal import Shell

BY_CONTRACT = 5


def test_a_deposit_is_taken_out_by_its_payer_after_the_exit_delay(
    installation: Installation, wallets: Iterator[int], tmp_path: Path
) -> None:
    world = installation.world
    payer, stranger = (world.actor(f"buyer-{next(wallets)}") for _ in range(2))
    endpoints = str(installation.stack.profile.endpoints_file)
    terminal, other = (
        Shell({"LICET_ENDPOINTS": endpoints, "LICET_PRIVATE_KEY": person.private_key}, tmp_path)
        for person in (payer, stranger)
    )
    for person in (payer, stranger):
        books.fund(world, person.address, FUNDS)
    deposited = terminal.run("deposit", world.actor("operator").address, "25", "--json").value
    name = deposited["deposit_id"]
    eventually(lambda: books.grant(world, "deposit", name)["granted"] == 25_000_000, "the deposit is final")

    assert other.run("exit", name, "1", "--json").refusal(BY_CONTRACT)
    assert terminal.run("exit", name, "25.000001", "--json").refusal(BY_CONTRACT)
    asked = terminal.run("exit", name, "9.90", "--json").value
    eventually(
        lambda: books.grant(world, "deposit", name)["granted"] == 15_100_000, "what leaves is not lent"
    )
    early = terminal.run("withdraw", str(asked["exit"]), "--json").refusal(BY_CONTRACT)
    assert early["error"] == "UsageEscrow_ExitLocked"

    pass_time(world, int(world.chain.call("UsageEscrow", "exitDelay")))
    before = world.chain.call("TestUSD", "balanceOf", payer.address)
    paid = other.run("withdraw", str(asked["exit"]), "--json").value
    assert parse_amount(paid["amount"]) == 9_900_000
    assert world.chain.call("TestUSD", "balanceOf", payer.address) - before == 9_900_000, (
        "whoever asks for it"
    )
    again = terminal.run("withdraw", str(asked["exit"]), "--json").refusal(BY_CONTRACT)
    assert again["error"] == "UsageEscrow_UnknownExit"
    eventually(lambda: books.reconciled(world), "receipts, ledger and chain agree", 40)
