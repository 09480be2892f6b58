"""The `licet` command as people and scripts use it: every command on the running installation, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from licet_kit.testing.json_pages import serving
from licet_sdk.cli.money import parse_amount
from web3 import Web3

from e2e.demo import books, calls, story
from e2e.observe import eventually
from e2e.scenarios.conftest import Buyer, Installation
from e2e.terminal import DONE, Shell
from e2e.world import World

WRONG_USE, UNREACHABLE, REFUSED, BY_CONTRACT, FORGED = 2, 3, 4, 5, 6
MODEL = "clinic/tumour-risk"


@pytest.fixture(scope="module")
def shell(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Shell]:
    folder = tmp_path_factory.mktemp("terminal")
    endpoints = {"LICET_ENDPOINTS": str(installation.stack.profile.endpoints_file)}
    return lambda **env: Shell({**endpoints, **env}, folder)


@pytest.fixture(scope="module")
def nobody(shell: Callable[..., Shell]) -> Shell:
    """Without credentials."""
    return shell()


@pytest.fixture(scope="module")
def customer(
    shell: Callable[..., Shell], installation: Installation, make_buyer: Callable[..., Buyer]
) -> tuple[Shell, Buyer]:
    """With a wallet, a license and an API key."""
    buyer = make_buyer()
    key = installation.notes[f"{buyer.name}_key"]
    return shell(LICET_PRIVATE_KEY=buyer.actor.private_key, LICET_API_KEY=key), buyer


@pytest.fixture(scope="module")
def publisher(shell: Callable[..., Shell], installation: Installation) -> Shell:
    return shell(LICET_PRIVATE_KEY=installation.world.actor("publisher").private_key)


@pytest.fixture(scope="module")
def operator(shell: Callable[..., Shell], installation: Installation) -> Shell:
    token = Path(installation.world.endpoints["operator_token_file"]).read_text().strip()
    return shell(LICET_OPERATOR_TOKEN=token)


@pytest.fixture(scope="module")
def rows_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("inputs") / "rows.json"
    path.write_text(json.dumps({"FEATURES": calls.held_out(2).tolist()}))
    return str(path)


def test_doctor_finds_all_well_and_names_what_is_not(nobody: Shell) -> None:
    checks = nobody.run("doctor", "--json").value
    assert {c["result"] for c in checks} == {"ok"}, checks
    sick = nobody.run("doctor", "--json", LICET_BILLING_URL="http://127.0.0.1:9")
    failed = [c for c in json.loads(sick.out) if c["result"] != "ok"]
    assert sick.status == 1
    assert [c["check"] for c in failed] == ["billing"]
    assert failed[0]["remedy"]


def test_publish_registers_a_new_asset_once(
    publisher: Shell, nobody: Shell, installation: Installation, tmp_path: Path
) -> None:
    folder = installation.notes["folder"]
    published = publisher.run("asset", "publish", "clinic/by-terminal", folder, "--json").value
    chain = installation.world.chain
    active = chain.call("AssetRegistry", "activeVersion", bytes.fromhex(published["asset_id"][2:]))
    assert "0x" + bytes(active).hex() == published["version_digest"] == installation.notes["digest"]
    again = publisher.run("asset", "publish", "clinic/by-terminal", folder, "--json").value
    assert again["asset_id"] == published["asset_id"]
    assert nobody.run("asset", "publish", "clinic/x", folder, "--json").refusal(WRONG_USE)
    empty = publisher.run("asset", "publish", "clinic/x", str(tmp_path), "--json").refusal(WRONG_USE)
    assert empty["error"] == "manifest_invalid"


def test_lineage_and_contributors_are_declared(publisher: Shell, installation: Installation) -> None:
    folder, chain = installation.notes["folder"], installation.world.client("publisher").lineage
    derived = ["asset", "publish", "clinic/by-child", folder, "--parent", f"{MODEL}:1500", "--json"]
    asset_id = publisher.run(*derived).value["asset_id"]
    assert publisher.run(*derived).value["asset_id"] == asset_id
    assert [(p.slug, p.royalty_bp) for p in chain.parents(asset_id)] == [(MODEL, 1500)]
    other = publisher.run(*derived[:-2], f"{MODEL}:1", "--json").refusal(BY_CONTRACT)
    assert other["error"] == "lineage_differs"
    helper = installation.world.actor("stranger").address
    split = ["asset", "share", "clinic/by-child", "--json"]
    publisher.run(*split, "--part", "2500", "--contributor", f"{helper}:1")
    assert chain.contributors(asset_id)[0] == 2500
    assert publisher.run(*split, "--part", "2500").refusal(BY_CONTRACT)
    assert publisher.run(*split, "--contributor", "0x12:1").refusal(WRONG_USE)


def test_plan_create_puts_the_terms_on_chain(publisher: Shell, installation: Installation) -> None:
    server = installation.world.actor("operator").address
    terms = ["--server", server, "--terms", str(story.TERMS)]
    money = ["--price", "2.5", "--unit-price", "0.01", "--included", "7"]
    metered = ["--metering", "rows:FEATURES", "--period", "3600", "--no-commercial"]
    made = publisher.run("plan", "create", MODEL, *terms, *money, *metered, "--json").value
    on_chain = installation.world.chain.call("PlanBook", "termsOf", made["plan_id"])
    assert list(on_chain[4:8]) == [2_500_000, 3600, 7, 10_000]
    assert list(on_chain[12:14]) == [True, False], "transferable, and not for commercial use"
    unknown = publisher.run("plan", "create", "clinic/absent", *terms, "--json").refusal(BY_CONTRACT)
    assert unknown["error"] == "asset_unknown"
    nowhere = ["--server", "0x12", "--terms", str(story.TERMS), "--period", "60"]
    assert publisher.run("plan", "create", MODEL, *nowhere, "--json").refusal(WRONG_USE)
    assert publisher.run("plan", "create", MODEL, *terms, "--price=0.0000001", "--json").refusal(WRONG_USE)


def test_buy_and_deposit_move_real_money(customer: tuple[Shell, Buyer], installation: Installation) -> None:
    person, buyer = customer
    chain, operator = installation.world.chain, installation.world.actor("operator").address
    wallet = Web3.to_checksum_address(buyer.actor.address)
    before = chain.balance(wallet)
    bought = person.run("buy", str(installation.notes["plan"]), "--json").value
    assert chain.call("License", "ownerOf", bought["license"]) == wallet
    locked = person.run("deposit", operator, "1.25", "--json").value
    spendable = chain.call("UsageEscrow", "depositOf", bytes.fromhex(locked["deposit_id"][2:]))[3]
    assert spendable == parse_amount(locked["spendable"]) == 1_250_000
    assert before - chain.balance(wallet) == story.PRICE + spendable
    allowance = ["TestUSD", "allowance", wallet, Web3.to_checksum_address(chain.addresses["UsageEscrow"])]
    assert person.run("deposit", "0x1234", "1", "--json").refusal(WRONG_USE)["error"] == "invalid_value"
    assert chain.call(*allowance) == 0, "nothing is approved for a deposit that cannot be made"
    assert person.run("deposit", operator, "999999999", "--json").refusal(BY_CONTRACT)
    assert person.run("buy", "999999", "--json").refusal(BY_CONTRACT)
    for key in ("0xnot-a-key", "0x" + "00" * 31):
        wrong = person.run("buy", "1", "--json", LICET_PRIVATE_KEY=key)
        assert wrong.refusal(WRONG_USE)["error"] == "config_invalid"
        assert key not in wrong.err
    gone = person.run("buy", "1", "--json", LICET_CHAINS_FILE="/absent.json").refusal(WRONG_USE)
    assert "/absent.json" in gone["message"]


def test_delegate_and_undelegate_say_what_the_chain_says(
    customer: tuple[Shell, Buyer], installation: Installation
) -> None:
    person, buyer = customer
    chain, user = installation.world.chain, installation.world.actor("operator").address
    lent = person.run("delegate", str(buyer.license_id), user, "--json").value
    assert lent["user"] == chain.call("License", "userOf", buyer.license_id) == user
    assert lent["until"] == chain.call("License", "endTime", buyer.license_id)
    person.run("undelegate", str(buyer.license_id), "--json")
    assert chain.call("License", "userExpires", buyer.license_id) == 0
    again = person.run("undelegate", str(buyer.license_id), "--json").refusal(BY_CONTRACT)
    assert again["error"] == "License_NotDelegated"
    past = person.run("delegate", str(buyer.license_id), user, "--until", "1", "--json").refusal(BY_CONTRACT)
    assert past["error"] == "License_InvalidDelegation"


def test_a_new_key_calls_and_its_use_is_listed(
    customer: tuple[Shell, Buyer], installation: Installation, rows_file: str
) -> None:
    person, buyer = customer
    world, notes = installation.world, installation.notes
    made = person.run("key", "create", "laptop", "--json").value
    assert made["account_id"] == notes[f"{buyer.name}_account"]
    kept = json.dumps(
        world.rows("licensing", "select * from api_keys where key_id = $1", made["id"]), default=str
    )
    assert kept != "[]"
    assert made["key"] not in kept
    answers = [
        person.run("infer", MODEL, rows_file, "--replica", number, "--json", LICET_API_KEY=made["key"]).value
        for number in ("0", "1")
    ]
    direct = calls.direct(world, notes, calls.held_out(2)).tolist()
    assert [a["PROBABILITIES"] for a in answers] == [direct, direct]
    assert [a["units"] for a in answers] == [2, 2]
    asked = {a["request_id"] for a in answers}
    billed = eventually(
        lambda: c if asked <= (c := books.charges_by_request(world, made["account_id"])).keys() else {},
        "both calls are billed",
    )
    listed = {r["request_id"]: int(r["units"]) for r in person.run("usage", "--limit", "50", "--json").value}
    assert {r: listed[r] for r in asked} == {r: billed[r] for r in asked}
    table = person.run("usage")
    assert table.status == DONE
    assert answers[0]["request_id"] in table.out


def test_calls_that_cannot_be_made_say_why(
    customer: tuple[Shell, Buyer], nobody: Shell, rows_file: str, tmp_path: Path
) -> None:
    person, _ = customer
    assert nobody.run("infer", MODEL, rows_file, "--json").refusal(REFUSED)["error"] == "credential_missing"
    forged = person.run("infer", MODEL, rows_file, "--json", LICET_API_KEY=books.well_formed_key())
    assert forged.refusal(REFUSED)["error"] == "credential_invalid"
    absent = person.run("infer", "clinic/absent", rows_file, "--json").refusal(REFUSED)
    assert absent["error"] == "model_unknown"
    bad = tmp_path / "bad.json"
    bad.write_text("[1, 2")
    assert person.run("infer", MODEL, str(bad), "--json").refusal(WRONG_USE)["error"] == "input_invalid"
    assert person.run("infer", MODEL, rows_file, "--replica", "7", "--json").refusal(WRONG_USE)
    assert person.run("infer", MODEL, rows_file, "--replica", "-1").status == WRONG_USE
    away = person.run("infer", MODEL, rows_file, "--json", LICET_GATEWAY_URL="http://127.0.0.1:9")
    assert away.refusal(UNREACHABLE)["error"] == "unreachable"
    assert nobody.run("usage", "--json").refusal(WRONG_USE)["error"] == "config_missing"
    bad.write_text("[]")
    lost = nobody.run("usage", "--json", LICET_ENDPOINTS=str(bad)).refusal(WRONG_USE)
    assert lost["error"] == "config_invalid"


def test_money_flows_from_a_charged_call_to_the_owner(
    shell: Callable[..., Shell],
    installation: Installation,
    make_buyer: Callable[..., Buyer],
    operator: Shell,
    publisher: Shell,
    tmp_path: Path,
) -> None:
    world, notes = installation.world, installation.notes
    buyer = make_buyer(deposit=story.DEPOSIT)
    person = shell(LICET_PRIVATE_KEY=buyer.actor.private_key, LICET_API_KEY=notes[f"{buyer.name}_key"])
    for rows in (story.INCLUDED_ROWS, 30):
        path = tmp_path / f"{rows}.json"
        path.write_text(json.dumps({"FEATURES": calls.held_out(rows).tolist()}))
        paid = person.run("infer", MODEL, str(path), "--json").value["request_id"]
    account = notes[f"{buyer.name}_account"]
    eventually(lambda: paid in books.charges_by_request(world, account), "the call is billed")
    early = person.run("receipt", "verify", "0" * 32 + "-1", "--json")
    assert early.refusal(REFUSED)["error"]
    world.operator().usage.settle()

    def proven() -> dict[str, str]:
        checks = {c["check"]: c["result"] for c in person.run("receipt", "verify", paid, "--json").value}
        return checks if "settlement" in checks else {}

    assert set(eventually(proven, "the receipt is proven to its settlement", 60)) == {
        "signature",
        "certificate",
        "charge",
        "settlement",
    }
    _forgeries_are_found(person, world, buyer, paid)
    report = eventually(
        lambda: r.value if (r := operator.run("reconcile", "--json")).status == DONE else {},
        "the books agree",
        60,
    )
    assert report["differences"] == []
    assert person.run("reconcile", "--json").refusal(WRONG_USE)["error"] == "config_missing"
    owner = world.actor("publisher").address
    seller = world.client("publisher")
    books.release(seller, seller.chain, [installation.notes["asset_id"]])
    before = world.chain.balance(owner)
    claimed = publisher.run("claim", MODEL, "--json").value
    assert world.chain.balance(owner) - before == parse_amount(claimed["claimed"]) > 0
    assert publisher.run("claim", MODEL, "--json").refusal(BY_CONTRACT)


def _forgeries_are_found(person: Shell, world: World, buyer: Buyer, paid: str) -> None:
    """A billing service that lies: about the units, with another call's receipt, with anything but a receipt."""
    usage = world.client(buyer.name).usage
    true = usage.receipt(paid)
    other = next(c["request_id"] for c in usage.charges() if c["request_id"] != paid)
    units = true["receipt"]["units"]
    forged = {
        "receipt_altered": {**true, "receipt": {**true["receipt"], "units": int(units) - 1}},
        "charge_altered": {**true, "charge": {**true["charge"], "amount": "1"}},
        "charge_misplaced": _with_line(true, payer=world.actor("stranger").address),
        "batch_altered": _with_line(true, window=1),
        "wrong_receipt": usage.receipt(other),
        "receipt_malformed": {"receipt": {"request_id": paid}},
    }
    for code, answer in forged.items():
        with serving({f"/v1/receipts/{paid}": answer}) as url:
            told = person.run("receipt", "verify", paid, "--json", LICET_BILLING_URL=url)
        assert told.refusal(FORGED)["error"] == code


def _with_line(answer: dict[str, Any], **changed: object) -> dict[str, Any]:
    settlement = answer["settlement"]
    return {**answer, "settlement": {**settlement, "line": {**settlement["line"], **changed}}}


def test_wallets_without_money_or_gas_are_told(
    shell: Callable[..., Shell], installation: Installation
) -> None:
    poor = shell(LICET_PRIVATE_KEY="0x" + "42" * 32)
    told = poor.run("buy", str(installation.notes["plan"]), "--json").refusal(BY_CONTRACT)
    assert told["error"] in {"insufficient_gas", "chain_error"}, told
