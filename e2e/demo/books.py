"""The figures of the books, read from the services' own tables and from the chain."""

from __future__ import annotations

import secrets
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Any

from licet_sdk.chain import Chain
from licet_sdk.cli.money import format_amount
from licet_sdk.client import Client
from licet_sdk.holds import Holds
from web3 import Web3
from web3.types import RPCEndpoint

from e2e.demo import calls
from e2e.demo.steps import Notes, check
from e2e.observe import eventually
from e2e.world import World

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
GAS_WEI = 10**20
_EQUATION = "granted, free, leased, suspended, spent, lapsed"


def digest_of(path: Path) -> str:
    """0x sha256 of a file."""
    return "0x" + sha256(path.read_bytes()).hexdigest()


def well_formed_key() -> str:
    """A key with right check digits that no one issued."""
    head = "licet_live_" + _base62(int.from_bytes(secrets.token_bytes(32)), 43)
    return f"{head}_{_base62(zlib.crc32(head.encode()), 6)}"


def _base62(number: int, width: int) -> str:
    digits = ""
    while number:
        number, rest = divmod(number, 62)
        digits = _ALPHABET[rest] + digits
    return digits.rjust(width, "0")


def fund(world: World, address: str, amount: int) -> None:
    """Development money and gas for a wallet."""
    world.chain.w3.provider.make_request(RPCEndpoint("anvil_setBalance"), [address, hex(GAS_WEI)])
    world.client("deployer").chain.send("TestUSD", "mint", Web3.to_checksum_address(address), amount)


# --- licensing


def grant(world: World, source: str, token_id: object) -> dict[str, Any]:
    """The newest grant of a license or deposit, as licensing's table holds it; zeros before there is one."""
    query = (
        f"select grant_id, state, generation, {_EQUATION} from grants "  # noqa: S608 - constants
        "where source = $1 and token_id = $2 order by window_ordinal desc limit 1"
    )
    found = world.rows("licensing", query, source, str(token_id))
    return found[0] if found else dict.fromkeys(["grant_id", *_EQUATION.split(", ")], 0)


def grants_of(world: World, license_id: int, deposit_id: str) -> list[dict[str, Any]]:
    """The grants of a buyer's license and deposit."""
    found = [grant(world, "license", license_id)]
    return [*found, grant(world, "deposit", deposit_id)] if deposit_id else found


def quiet(world: World, license_id: int, deposit_id: str) -> bool:
    """Whether nothing of these grants is leased or suspended any more."""
    return all(g["leased"] == g["suspended"] == 0 for g in grants_of(world, license_id, deposit_id))


def spent_units(world: World, license_id: int, deposit_id: str, unit_price: int) -> int:
    """Units that licensing holds as spent: included ones, and those that the deposit paid."""
    included, *paid = (g["spent"] for g in grants_of(world, license_id, deposit_id))
    return int(included) + sum(int(p) // unit_price for p in paid)


# --- billing


def charges_by_request(world: World, account_id: str) -> dict[str, int]:
    """Units of each charge of an account that has any, by request id."""
    query = "select request_id, units from charges where account_id = $1 and units > 0"
    return {r["request_id"]: int(r["units"]) for r in world.rows("billing", query, account_id)}


def charges(world: World, notes: Notes) -> dict[str, int]:
    """Calls, units and amount of the story's people, and how many of their calls no right covers yet."""
    query = (
        "select count(*) filter (where units > 0) as calls, coalesce(sum(units), 0) as units, "
        "coalesce(sum(amount), 0) as amount, count(*) filter (where disposition = 'uncovered') as uncovered "
        "from charges where account_id = any($1)"
    )
    return {
        name: int(value) for name, value in world.rows("billing", query, calls.accounts(notes))[0].items()
    }


def settle(world: World, notes: Notes) -> list[str]:
    """Settles what is due, and shows the transaction as the chain has it."""
    world.operator().usage.settle()
    due = charges(world, notes)["amount"]
    query = (
        "select b.number, b.tx_hash, b.root, sum(i.amount) as due, sum(i.paid) as paid, sum(i.records) as records "
        "from settlement_batches b join settlement_items i using (chain_id, operator, number) "
        "where b.state = 'final' and i.deposit_id = $1 group by 1, 2, 3 order by 1"
    )

    def settled() -> list[dict[str, Any]]:
        batches = world.rows("billing", query, notes["deposit"])
        return batches if sum(int(b["paid"] or 0) for b in batches) == due else []

    batches = eventually(settled, "all that is due is settled and final", 60)
    figures = []
    for batch in batches:
        receipt = world.chain.w3.eth.get_transaction_receipt(batch["tx_hash"])
        operator = world.actor("operator").address
        root = "0x" + world.chain.call("UsageEscrow", "batchRootOf", operator, batch["number"]).hex()
        check(root == batch["root"], "the root in the books is the root on chain")
        figures.append(
            f"chain: batch {batch['number']} in {batch['tx_hash'][:18]}… (block {receipt['blockNumber']}): "
            f"{batch['records']} charges, {format_amount(int(batch['paid']))} tUSD drawn, root {root[:18]}…"
        )
    return figures


def ledger(world: World) -> list[str]:
    """Sums of the ledger, which the database itself keeps balanced."""
    query = (
        "select t.currency, count(distinct t.id) as transactions, "
        "sum(e.amount) filter (where e.amount > 0) as debits, -sum(e.amount) filter (where e.amount < 0) as credits "
        "from ledger_transactions t join ledger_entries e on e.transaction_id = t.id "
        "where t.state = 'posted' group by 1"
    )
    figures = []
    for row in world.rows("billing", query):
        check(row["debits"] == row["credits"], "debits equal credits")
        figures.append(
            f"ledger: {row['transactions']} transactions, debits {format_amount(int(row['debits']))} = "
            f"credits {format_amount(int(row['credits']))}"
        )
    check(figures, "the ledger has posted transactions")
    return figures


def release(client: Client, chain: Chain, asset_ids: list[str]) -> int:
    """Waits until the dispute time of all that is held for these assets is over, and brings it to the router."""
    holds = Holds(client.config, chain)
    try:
        released = 0

        def is_over() -> bool:
            nonlocal released
            released += holds.release(asset_ids)
            return not any(holds.of(asset_id) for asset_id in asset_ids)

        eventually(is_over, "the dispute time is over and what was held is released", 60)
        return released
    finally:
        holds.close()


def holds_claim(world: World, log: Any) -> bool:
    """Whether the ledger has posted the transaction of a Claimed event, which it does when that is final."""
    query = (
        "select 1 from ledger_transactions where kind = 'claimed' and state = 'posted' and block_number = $1"
    )
    return bool(world.rows("billing", query, log["blockNumber"]))


def reconciled(world: World) -> dict[str, Any]:
    """The reconciliation when it is exact, otherwise nothing."""
    report = world.operator().usage.reconcile()
    return report if report["exact"] else {}


def reconcile(world: World) -> list[str]:
    """Receipts, ledger and chain, compared now."""
    report = eventually(lambda: reconciled(world), "receipts, ledger and chain agree", 40)
    kept = world.rows(
        "billing", "select exact, counts, block_number from reconciliations order by seq desc limit 1"
    )[0]
    check(kept["exact"] and not report["differences"], "no difference is found")
    return [f"billing: exact at block {kept['block_number']}, compared {kept['counts']}"]
