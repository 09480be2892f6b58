"""The steps of the story. Each does one thing through public APIs, then reads the figures back from where they live."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from licet_sdk import receipts
from licet_sdk.chain import PlanOffer
from licet_sdk.cli.money import format_amount
from licet_sdk.errors import ChainError
from tritonclient.http import InferenceServerClient

from e2e.demo import books, calls, refusals
from e2e.demo.steps import Notes, Step, check
from e2e.observe import eventually
from e2e.world import World

SLUG = "clinic/tumour-risk"
INCLUDED_ROWS = 40
PRICE = 25_000_000  # 25 tUSD a period
UNIT_PRICE = 10_000  # 0.01 tUSD a row beyond the included ones
DEPOSIT = 5_000_000
FUNDS = 100_000_000
MONTH_S = 30 * 86_400
BRIEF_S = 10
TERMS = Path(__file__).with_name("terms.md")


def train_model(world: World, notes: Notes) -> list[str]:
    """Trains, or takes from the cache, the model and its manifest."""
    out = Path(world.endpoints["chains_file"]).parent / "tumour-risk"
    command = [sys.executable, "-m", "examples.models.tumour_risk.train", "--out", str(out), "--json"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    notes["folder"] = str(out)
    manifest = json.loads((out / "manifest.json").read_text())
    found = manifest["metrics"]
    check(
        float(found["accuracy"]) > float(found["baseline_one_feature_accuracy"]),
        "the model beats its baselines",
    )
    return [
        f"manifest: {found['training_cases']} training cases, {found['held_out_cases']} held out",
        f"manifest: accuracy {found['accuracy']}, AUC {found['auc']}; best single feature "
        f"{found['baseline_one_feature_accuracy']}, {found['baseline_one_feature_auc']}; "
        f"majority {found['baseline_majority_accuracy']}",
        f"manifest: {', '.join(a['name'] for a in manifest['artifacts'])}; metered by {manifest['metering_rule']}",
    ]


def publish_model(world: World, notes: Notes) -> list[str]:
    """Uploads, registers, publishes and activates; ends when Triton serves the pinned name."""
    publisher = world.client("publisher")
    digest, _ = publisher.vault.upload(Path(notes["folder"]))
    asset_id = publisher.chain.find_or_register(SLUG)
    if _active(world, asset_id) != digest:
        publisher.chain.publish_version(asset_id, digest, f"{world.config.vault}/v1/manifests/{digest}")
    notes["asset_id"], notes["digest"] = asset_id, digest
    active = _active(world, asset_id)
    check(active == digest, "the chain's active version is the uploaded manifest")
    pinned = f"{SLUG.replace('/', '.')}-{digest[2:18]}"
    triton = InferenceServerClient(world.endpoints["triton"]["http"].split("//")[1])
    eventually(lambda: triton.is_model_ready(pinned), f"Triton serves {pinned}", 60)
    triton.close()
    mirrored = eventually(
        lambda: world.rows("indexer", "select slug, active_version from asset where asset_id = $1", asset_id),
        "the mirror holds the asset",
    )[0]
    return [
        f"chain: asset {asset_id[:18]}… active version {active[:18]}…",
        f"mirror: {mirrored['slug']} active version {mirrored['active_version'][:18]}…",
        f"Triton: {pinned} ready",
    ]


def _active(world: World, asset_id: str) -> str:
    return "0x" + bytes(world.chain.call("AssetRegistry", "activeVersion", bytes.fromhex(asset_id[2:]))).hex()


def create_plans(world: World, notes: Notes) -> list[str]:
    """One plan of a month, one of ten seconds."""
    publisher = world.client("publisher")
    month = PlanOffer(
        price=PRICE,
        period_s=MONTH_S,
        included_units=INCLUDED_ROWS,
        unit_price=UNIT_PRICE,
        metering_rule="rows:FEATURES",
        server=world.actor("operator").address,
        terms_digest=books.digest_of(TERMS),
    )
    brief = replace(month, price=1_000_000, period_s=BRIEF_S, included_units=10, optimistic_units=10)
    notes["plan"], _ = publisher.chain.create_plan(notes["asset_id"], month)
    notes["brief_plan"], _ = publisher.chain.create_plan(notes["asset_id"], brief)
    figures = []
    for plan in (notes["plan"], notes["brief_plan"]):
        price, period_s, included, unit_price = world.chain.call("PlanBook", "termsOf", plan)[4:8]
        figures.append(
            f"chain: plan {plan}: {format_amount(price)} tUSD for {period_s} s, {included} rows included, "
            f"then {format_amount(unit_price)} a row"
        )
    return figures


def buy_licenses(world: World, notes: Notes) -> list[str]:
    """The buyer, one who will give the license away, and one who takes ten seconds of it pay the price."""
    for name in ("buyer", "giver", "stranger", "brief"):
        calls.make_key(world, notes, name)

    def buy(name: str) -> None:
        if f"{name}_license" in notes and name != "brief":  # bought when this step was begun before
            return
        client = world.client(name)
        client.chain.send("TestUSD", "mint", client.chain.wallet, FUNDS)
        notes[f"{name}_license"], _ = client.chain.buy(notes["brief_plan" if name == "brief" else "plan"])

    # Each waits for blocks of its own transactions only.
    with ThreadPoolExecutor() as pool:
        list(pool.map(buy, ("buyer", "giver", "brief")))
    eventually(
        lambda: calls.refusal_code(world, notes, "brief") == "",
        "the short license works before it expires",
        8,
    )
    token_id = notes["buyer_license"]
    grant = eventually(
        lambda: g if (g := books.grant(world, "license", token_id))["granted"] == INCLUDED_ROWS else {},
        "the whole grant is final",
    )
    owner = world.chain.call("License", "ownerOf", token_id)
    paid = world.logs("LicenseSale", "LicensePurchased", tokenId=token_id)[0]["args"]["price"]
    brief = world.logs("LicenseSale", "LicensePurchased", tokenId=notes["brief_license"])[0]["args"]
    return [
        f"chain: license {token_id} belongs to {owner}, paid {format_amount(paid)} tUSD",
        f"chain: license {notes['brief_license']} lasts {brief['endTime'] - brief['startTime']} s; it answered",
        f"licensing: grant {grant['grant_id'][-24:]}: granted {grant['granted']}, free {grant['free']}, "
        f"leased {grant['leased']}, spent {grant['spent']}",
    ]


def call_both_replicas(world: World, notes: Notes) -> list[str]:
    """The same rows through each gateway and directly: the same answer, byte for byte."""
    rows = calls.held_out(5)
    direct = calls.direct(world, notes, rows)
    figures = []
    for number, url in enumerate(world.config.gateway):
        answer = calls.through(world, notes, "buyer", rows, replica=number)
        check(np.array_equal(answer, direct), f"replica {number + 1} answers what Triton answers")
        figures.append(f"gateway {number + 1} ({url}): {len(answer)} rows, equal to Triton's own answer")
    workers = eventually(
        lambda: calls.workers(world, notes, at_least=2), "usage of both replicas is in Kafka"
    )
    return [*figures, f"Kafka: usage recorded by {', '.join(sorted(workers))}"]


def deposit_and_go_on(world: World, notes: Notes) -> list[str]:
    """A deposit carries the use beyond the included rows."""
    buyer = world.client("buyer")
    if "deposit" not in notes:
        notes["deposit"], _ = buyer.chain.deposit(world.actor("operator").address, DEPOSIT)
    deposit_id = notes["deposit"]
    eventually(
        lambda: books.grant(world, "deposit", deposit_id)["granted"] >= DEPOSIT, "the deposit is final"
    )
    rows, before = calls.held_out(30), calls.totals(world, notes)["units"]
    for number in range(len(world.config.gateway)):
        calls.through(world, notes, "buyer", rows, replica=number)
    spendable = world.chain.call("UsageEscrow", "depositOf", bytes.fromhex(deposit_id[2:]))[3]
    sent = len(rows) * len(world.config.gateway)
    more = eventually(
        lambda: n if (n := calls.totals(world, notes)["units"] - before) >= sent else 0,
        "the calls are in Kafka",
    )
    return [
        f"chain: {format_amount(spendable)} tUSD locked in the escrow for the operator",
        f"Kafka: {more} more rows recorded",
    ]


def show_usage(world: World, notes: Notes) -> list[str]:
    """Every call that was answered is in Kafka and in billing's books, once, and all that it cost is due."""

    def both() -> tuple[dict[str, int], dict[str, int]] | None:
        recorded, billed = calls.totals(world, notes), books.charges(world, notes)
        same = recorded["units"] == billed["units"] and recorded["calls"] == billed["calls"]
        # A call may reach billing before the deposit that pays for it does; until then it is not due.
        spent = books.grant(world, "deposit", notes["deposit"])["spent"]
        due = billed["uncovered"] == 0 and billed["amount"] == spent > 0
        return (recorded, billed) if same and due and recorded["units"] >= calls.answered(notes) else None

    recorded, billed = eventually(both, "all usage is in Kafka and billed", 30)
    return [
        f"callers: {calls.answered(notes)} rows answered",
        f"licensing: {format_amount(int(books.grant(world, 'deposit', notes['deposit'])['spent']))} tUSD spent",
        f"Kafka: {recorded['calls']} calls, {recorded['units']} rows",
        f"billing: {billed['calls']} charges, {billed['units']} rows, {format_amount(billed['amount'])} tUSD due",
    ]


def settle(world: World, notes: Notes) -> list[str]:
    """One transaction draws what is due and anchors every charge."""
    return books.settle(world, notes)


def prove_receipt(world: World, notes: Notes) -> list[str]:
    """A receipt of the buyer, checked against the chain alone."""
    buyer = world.client("buyer")
    charge = next(c for c in buyer.usage.charges() if int(c["amount"]) > 0)
    answer = buyer.usage.receipt(charge["request_id"])
    proven = receipts.verify(answer, world.chain, charge["request_id"])
    check(
        {"signature", "certificate", "charge", "settlement"} == {c.name for c in proven},
        "all four parts hold",
    )
    return [f"{c.name}: {c.detail}" for c in proven]


def show_ledger(world: World, notes: Notes) -> list[str]:
    """Debits equal credits."""
    return books.ledger(world)


def reconcile(world: World, notes: Notes) -> list[str]:
    """Receipts, ledger and chain agree to the unit."""
    return books.reconcile(world)


def claim(world: World, notes: Notes) -> list[str]:
    """What was settled is released after its dispute time; the owner distributes and claims the revenue."""
    publisher = world.client("publisher")
    released = books.release(publisher, publisher.chain, [notes["asset_id"]])
    before = publisher.chain.balance()
    try:
        claimed, _ = publisher.chain.claim([notes["asset_id"]])
    except ChainError as error:
        if error.code != "RevenueRouter_NothingToClaim":
            raise
        claimed = 0  # the story goes on from here, and the claim had been made
    check(publisher.chain.balance() - before == claimed, "the wallet holds what was claimed")
    claims = world.logs("RevenueRouter", "Claimed", account=publisher.chain.wallet)
    check(claims, "the chain has the claim")
    paid = claims[-1]
    eventually(lambda: books.holds_claim(world, paid), "the claim is final and in the ledger")
    return [
        f"chain: {format_amount(released)} tUSD of settled use released after the dispute time",
        f"chain: the owner's balance rose by {format_amount(paid['args']['amount'])} tUSD in "
        f"{paid['transactionHash'].to_0x_hex()}",
        *books.ledger(world),
    ]


STEPS = [
    Step("Train a risk model on real data", train_model, "vault"),
    Step("Publish it: encrypted, digest on chain, verified into Triton", publish_model, "vault"),
    Step("Put sale terms on chain", create_plans, "indexer"),
    Step("Buy licenses", buy_licenses, "licensing"),
    Step("Call through both gateway replicas", call_both_replicas, "gateway-1"),
    Step("Refuse a stranger", refusals.stranger, "licensing"),
    Step("Refuse a forged key", refusals.forged_key, "gateway-1"),
    Step("Refuse a license that was transferred away", refusals.transferred, "licensing"),
    Step("Refuse beyond the included rows", refusals.exhausted, "licensing"),
    Step("Refuse an expired license", refusals.expired, "licensing"),
    Step("Lock a deposit and call on", deposit_and_go_on, "licensing"),
    Step("Show the usage", show_usage, "billing"),
    Step("Settle on chain", settle, "billing"),
    Step("Prove a receipt", prove_receipt, "billing"),
    Step("Show the ledger", show_ledger, "billing"),
    Step("Reconcile receipts, ledger and chain", reconcile, "billing"),
    Step("Claim the owner's revenue", claim, "billing"),
]
