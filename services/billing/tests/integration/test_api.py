"""REST: who may see what, and that the answers are the books."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from aiohttp import web
from licet_billing.api import Edge, make_app
from licet_billing.clients.licensing import LicensingClient
from licet_kit.testing.http import http_client
from licet_kit.testing.plugin import StartChain
from licet_schemas import eip712, merkle
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from .town import House, open_house, settle_in, use

TOKEN = "operator-token-of-the-test"
WORKER = "worker-token-of-the-test"
MINE, OTHER, SESSION = "licet_live_mine", "licet_live_other", "licet_session_mine"


@dataclass
class Licensing:
    """Answers introspection over HTTP as licensing does; `down` breaks it."""

    accounts: Mapping[str, tuple[str, list[str]]]
    down: bool = False
    url: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)

    async def introspect(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append(body)
        if self.down:
            return web.json_response({"code": "overloaded"}, status=503)
        (credential,) = body.values()
        if request.headers.get("authorization") != f"Bearer {WORKER}" or credential not in self.accounts:
            return web.json_response({"code": "credential_invalid"}, status=401)
        account, wallets = self.accounts[credential]
        return web.json_response({"account_id": account, "wallets": wallets})


@asynccontextmanager
async def licensing(accounts: Mapping[str, tuple[str, list[str]]]) -> AsyncIterator[Licensing]:
    answers = Licensing(accounts)
    app = web.Application()
    app.router.add_post("/v1/introspect", answers.introspect)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    answers.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield answers
    finally:
        await runner.cleanup()


@dataclass
class Desk:
    """Billing's API with a payer who has used and settled."""

    house: House
    licensing: Licensing
    http: httpx2.AsyncClient

    async def get(self, path: str, token: str = MINE, **query: Any) -> httpx2.Response:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return await self.http.get(path, headers=headers, params=query)

    async def post(self, path: str, token: str = TOKEN) -> httpx2.Response:
        return await self.http.post(path, headers={"authorization": f"Bearer {token}"} if token else {})


@pytest.fixture
async def desk(engine: AsyncEngine, chain: StartChain) -> AsyncIterator[Desk]:
    town = settle_in(await chain())
    house = open_house(engine, town)
    town.deposit(1000)
    await house.finalise()
    accounts = {
        MINE: ("account-1", [town.payer]),
        SESSION: ("account-1", [town.payer]),
        OTHER: ("account-2", [town.owner]),
    }
    async with licensing(accounts) as answers, http_client(base_url=answers.url) as inner:
        edge = Edge(
            engine=engine,
            licensing=LicensingClient(inner, WORKER),
            operator=town.operator,
            operator_token=TOKEN,
            escrows={town.chain.chain_id: town.chain.contract("UsageEscrow")},
            settlers=[house.settler],
            reconcilers=[house.reconciler],
        )
        transport = httpx2.ASGITransport(make_app(edge))
        async with httpx2.AsyncClient(transport=transport, base_url="http://billing") as http:
            yield Desk(house, answers, http)
    await house.close()


async def test_charge_above_the_whole_cap_is_named_to_the_operator(desk: Desk) -> None:
    town = desk.house.town
    town.send(1, "UsageEscrow", "setSettlerCap", town.checksum(town.token), 13)
    dear, _ = await use(desk.house, 2, 1)
    with capture_logs() as logged:
        for _ in range(2):
            answer = (await desk.post("/v1/settlements")).json()
    assert answer["batches"] == []
    named = {"currency": town.token, "request_id": dear, "amount": "14", "cap": "13"}
    assert answer["stuck"] == [named | {"chain_id": town.chain.chain_id}]
    assert [e["request_id"] for e in logged if e["event"] == "settler.above_cap"] == [dear]


async def settle(desk: Desk) -> dict[str, Any]:
    """Settles by the operator's route and waits for the end."""
    made = (await desk.post("/v1/settlements")).json()["batches"]
    sender = await desk.house.settler.open_epoch()
    for _ in range(4):
        await desk.house.settler.tick(sender)
        await desk.house.finalise()
    (batch,) = made
    return dict(batch)


ACCOUNT_ROUTES = ["/v1/usage", "/v1/balance", "/v1/receipts/x-1"]
OPERATOR_ROUTES = [
    "/v1/ledger/transactions",
    "/v1/ledger/accounts",
    "/v1/settlements",
    "/v1/reconciliation",
]


def _refusal(answer: httpx2.Response) -> tuple[int, str, str]:
    return answer.status_code, answer.json()["code"], answer.headers["content-type"]


async def test_no_route_but_the_public_document_answers_without_its_own_credential(desk: Desk) -> None:
    missing = (401, "credential_missing", "application/problem+json")
    invalid = (401, "credential_invalid", "application/problem+json")
    for path in ACCOUNT_ROUTES + OPERATOR_ROUTES:
        assert _refusal(await desk.get(path, token="")) == missing, path
    for path in ACCOUNT_ROUTES:
        assert _refusal(await desk.get(path, token=TOKEN)) == invalid, path
    for token in (MINE, SESSION, WORKER, "wrong"):
        for path in OPERATOR_ROUTES:
            assert _refusal(await desk.get(path, token=token)) == invalid, path
        for path in ("/v1/settlements", "/v1/reconciliation"):
            assert _refusal(await desk.post(path, token=token)) == invalid, path
    assert _refusal(await desk.post("/v1/settlements", token="")) == missing


async def test_nobody_is_let_in_while_licensing_is_away(desk: Desk) -> None:
    desk.licensing.down = True
    answer = await desk.get("/v1/usage")
    assert (answer.status_code, answer.json()["code"]) == (503, "licensing_unavailable")
    assert answer.headers["retry-after"]


async def test_session_and_key_are_introspected_as_what_they_are(desk: Desk) -> None:
    assert (await desk.get("/v1/usage", token=SESSION)).status_code == 200
    assert (await desk.get("/v1/usage")).status_code == 200
    assert desk.licensing.asked == [{"session": SESSION}, {"api_key": MINE}]


async def test_objects_of_one_account_do_not_exist_for_another(desk: Desk) -> None:
    (request_id,) = await use(desk.house, 1)
    await settle(desk)
    assert (await desk.get(f"/v1/receipts/{request_id}")).status_code == 200
    hidden = await desk.get(f"/v1/receipts/{request_id}", token=OTHER)
    absent = await desk.get(f"/v1/receipts/{'f' * 32}-1", token=OTHER)
    assert (hidden.status_code, hidden.json()["code"]) == (404, "not_found")
    assert hidden.json() == absent.json() | {"detail": hidden.json()["detail"]}
    assert (await desk.get("/v1/usage", token=OTHER)).json() == {
        "data": [],
        "has_more": False,
        "next_cursor": None,
    }
    page = (await desk.get("/v1/usage", limit=1)).json()
    assert (await desk.get("/v1/usage", token=OTHER, cursor=page["next_cursor"] or "")).json()["data"] == []
    assert (await desk.get("/v1/balance", token=OTHER)).json() == {"account_id": "account-2", "deposits": []}


async def test_usage_is_paged_newest_first_without_gap_or_repeat(desk: Desk) -> None:
    requests = await use(desk.house, *range(1, 8))
    seen, cursor = [], ""
    while True:
        page = (await desk.get("/v1/usage", limit=3, cursor=cursor)).json()
        seen += [charge["request_id"] for charge in page["data"]]
        if not page["has_more"]:
            break
        cursor = page["next_cursor"]
    assert seen == list(reversed(requests))


async def test_cursor_of_another_list_is_refused(desk: Desk) -> None:
    for cursor in ("nonsense", "eyJpZCI6MX0", "eyJzZXEiOiJ4In0"):
        answer = await desk.get("/v1/usage", cursor=cursor)
        assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalid")


async def test_receipt_proves_itself_before_and_after_its_settlement(desk: Desk) -> None:
    (request_id,) = await use(desk.house, 3)
    before = (await desk.get(f"/v1/receipts/{request_id}")).json()
    assert (before["state"], before["settlement"], before["charge"]["amount"]) == ("signed", None, "21")
    domain = eip712.domain_separator(before["chain_id"], before["escrow"])
    fields: dict[str, Any] = {
        name: bytes.fromhex(value[2:]) if name in _HEX else value for name, value in before["receipt"].items()
    }
    digest = eip712.receipt_digest(domain, eip712.Receipt(**fields))
    segment = before["segment"]
    path = [bytes.fromhex(sibling[2:]) for sibling in segment["path"]]
    assert merkle.verify(merkle.leaf(digest), path, bytes.fromhex(segment["root"][2:]))
    await settle(desk)
    after = (await desk.get(f"/v1/receipts/{request_id}")).json()
    assert (after["state"], after["receipt"]) == ("settled", before["receipt"])
    proof = after["settlement"]
    assert (proof["batch"], proof["state"], proof["line"]["amount"]) == (1, "final", "21")
    mined = desk.house.town.w3.eth.get_transaction_receipt(proof["tx_hash"])
    assert mined["status"] == 1


_HEX = {"asset_id", "version_digest", "request_commitment", "response_commitment"}


async def test_states_of_charges_follow_their_batch(desk: Desk) -> None:
    await use(desk.house, 1, 0)
    assert await _states(desk) == ["not_charged", "unsettled"]
    await desk.post("/v1/settlements")
    assert await _states(desk) == ["not_charged", "settling"]
    await settle_rest(desk)
    assert await _states(desk) == ["not_charged", "settled"]


async def settle_rest(desk: Desk) -> None:
    sender = await desk.house.settler.open_epoch()
    for _ in range(4):
        await desk.house.settler.tick(sender)
        await desk.house.finalise()


async def _states(desk: Desk) -> list[str]:
    return [charge["state"] for charge in (await desk.get("/v1/usage")).json()["data"]]


async def test_balance_shows_what_is_charged_waiting_and_provisional(desk: Desk) -> None:
    await use(desk.house, 10)
    desk.house.town.deposit(500)
    await desk.house.feed.sync(desk.house.inbox, final=False)
    (deposit,) = (await desk.get("/v1/balance")).json()["deposits"]
    figures = {name: deposit[name] for name in ("available", "owed", "unsettled", "exiting", "provisional")}
    assert figures == {
        "available": "930",
        "owed": "0",
        "unsettled": "70",
        "exiting": "0",
        "provisional": "500",
    }
    desk.house.town.send(3, "UsageEscrow", "requestExit", deposit["deposit_id"], 400)
    await desk.house.finalise()
    (deposit,) = (await desk.get("/v1/balance")).json()["deposits"]
    assert (deposit["available"], deposit["exiting"], deposit["provisional"]) == ("1030", "400", "0")


async def test_batch_document_is_public_and_is_what_its_name_says(desk: Desk) -> None:
    await use(desk.house, 1, 2)
    batch = await settle(desk)
    digest = batch["data_uri"].removeprefix("licet:batch:")
    answer = await desk.get(f"/v1/batches/{digest}", token="")
    assert hashlib.sha256(answer.content).hexdigest() == digest
    document = json.loads(answer.content)
    (item,) = document["items"]
    assert (item["amount"], [amount for _, amount in item["leaves"]]) == ("21", ["7", "14"])
    assert "account-1" not in answer.text
    assert item["payer"] == desk.house.town.payer, "as in the calldata of its settlement"
    assert (await desk.get("/v1/batches/" + "0" * 64, token="")).status_code == 404


@pytest.mark.parametrize(
    ("path", "token", "value"),
    [
        *[("/v1/usage", MINE, {"seq": seq}) for seq in (10**30, -1, 2**63, True, None)],
        ("/v1/ledger/transactions", TOKEN, {"seq": 10**30}),
        ("/v1/settlements", TOKEN, {"chain_id": 10**30, "batch": 1}),
        ("/v1/settlements", TOKEN, {"chain_id": True, "batch": True}),
        ("/v1/ledger/accounts", TOKEN, {"id": "\0"}),
        ("/v1/ledger/accounts", TOKEN, {"id": "\ud800"}),
    ],
)
async def test_a_cursor_that_no_page_gave_is_refused(
    desk: Desk, path: str, token: str, value: dict[str, object]
) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
    answer = await desk.get(path, token=token, cursor=cursor)
    assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalid")


@pytest.mark.parametrize(
    "path", ["/v1/receipts/%00", "/v1/receipts/a%ff", "/v1/batches/%00", "/v1/batches/0"]
)
async def test_an_id_that_cannot_be_one_is_refused(desk: Desk, path: str) -> None:
    assert (await desk.http.get(path, headers={"authorization": f"Bearer {MINE}"})).status_code == 422


async def test_settling_nothing_makes_no_batch(desk: Desk) -> None:
    assert (await desk.post("/v1/settlements")).json() == {"batches": [], "stuck": []}
    assert (await desk.get("/v1/settlements", token=TOKEN)).json()["data"] == []


async def test_ledger_routes_show_balanced_books_page_by_page(desk: Desk) -> None:
    await use(desk.house, 1, 2)
    await settle(desk)
    seen, cursor = [], ""
    while True:
        page = (await desk.get("/v1/ledger/transactions", token=TOKEN, limit=2, cursor=cursor)).json()
        seen += page["data"]
        if not page["has_more"]:
            break
        cursor = page["next_cursor"]
    assert len({entry["id"] for entry in seen}) == len(seen) == 4
    for entry in seen:
        sides = {
            side: sum(int(e["amount"]) for e in entry["entries"] if e["side"] == side) for side in _SIDES
        }
        assert sides["debit"] == sides["credit"] > 0
        assert (entry["tx_hash"] is None) == (entry["kind"] == "charge")
    accounts = (await desk.get("/v1/ledger/accounts", token=TOKEN)).json()["data"]
    balances = {account["kind"]: account["balance"] for account in accounts if account["kind"] != "clearing"}
    assert balances == {"accrued": "0", "customer": "979", "receivable": "0", "holds": "21"}
    assert sum(int(a["debits"]) for a in accounts) == sum(int(a["credits"]) for a in accounts)


_SIDES = ("debit", "credit")


async def test_reconciliation_route_compares_now_and_keeps_the_result(desk: Desk) -> None:
    assert (await desk.get("/v1/reconciliation", token=TOKEN)).status_code == 404
    await use(desk.house, 1)
    await settle(desk)
    result = (await desk.post("/v1/reconciliation")).json()
    assert (result["exact"], result["differences"]) == (True, [])
    assert (await desk.get("/v1/reconciliation", token=TOKEN)).json() == result


async def test_openapi_describes_every_route(desk: Desk) -> None:
    described = (await desk.get("/openapi.json", token="")).json()
    assert described["openapi"].startswith("3.1")
    assert set(described["paths"]) == {
        "/v1/usage",
        "/v1/receipts/{request_id}",
        "/v1/balance",
        "/v1/batches/{digest}",
        *OPERATOR_ROUTES,
    }
