"""The REST API, with real Postgres, Redis and signatures."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import httpx2
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from licet_kit import cursor as cursors
from licet_licensing.api.rest import Deps, make_app
from licet_licensing.clients import Nonces, recover_signer
from licet_licensing.domain.errors import SignInRefused
from licet_licensing.domain.siwe import SignInPolicy
from licet_licensing.testing.words import CHAIN_ID, PERIOD_S, SLUG, grant_id, renewed
from licet_licensing.testing.world import POLICY, World

DOMAIN = "licensing.test:8110"
TOKEN = "worker-token-of-the-test"


@dataclass(slots=True)
class Client:
    """A wallet's client."""

    http: httpx2.AsyncClient
    key: str
    now: datetime

    @property
    def address(self) -> str:
        return str(Account.from_key(self.key).address)

    def text(self, nonce: str, **changes: Any) -> str:
        """An ERC-4361 message."""
        said: dict[str, Any] = {
            "domain": DOMAIN,
            "address": self.address,
            "uri": f"http://{DOMAIN}",
            "chain": CHAIN_ID,
            "expires": self.now + timedelta(minutes=5),
        } | changes
        return (
            f"{said['domain']} wants you to sign in with your Ethereum account:\n{said['address']}\n\n"
            f"Sign in to Licet.\n\nURI: {said['uri']}\nVersion: 1\nChain ID: {said['chain']}\nNonce: {nonce}\n"
            f"Issued At: {self.now.strftime('%Y-%m-%dT%H:%M:%SZ')}\n"
            f"Expiration Time: {said['expires'].strftime('%Y-%m-%dT%H:%M:%SZ')}"
        )

    def signature(self, text: str) -> str:
        return "0x" + bytes(Account.sign_message(encode_defunct(text=text), self.key).signature).hex()

    async def nonce(self) -> str:
        return str((await self.http.post("/v1/auth/nonce")).json()["nonce"])

    async def send(self, text: str, signature: str | None = None) -> httpx2.Response:
        body = {"message": text, "signature": signature or self.signature(text)}
        return await self.http.post("/v1/auth/siwe", json=body)

    async def login(self) -> dict[str, Any]:
        answer = await self.send(self.text(await self.nonce()))
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def get(self, path: str, token: str) -> httpx2.Response:
        return await self.http.get(path, headers=bearer(token))

    async def post(self, path: str, token: str, body: dict[str, Any]) -> httpx2.Response:
        return await self.http.post(path, headers=bearer(token), json=body)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


MakeClient = Callable[[int], Client]


@pytest.fixture
async def nonces(redis_url: str) -> AsyncIterator[Nonces]:
    made = Nonces(redis_url, timedelta(minutes=5))
    yield made
    await made.close()


@pytest.fixture
async def client(world: World, nonces: Nonces) -> AsyncIterator[MakeClient]:
    """Clients of wallets 1, 2, …"""
    policy = SignInPolicy(DOMAIN, f"http://{DOMAIN}", frozenset({CHAIN_ID}))
    deps = Deps(world.engine, world.clock, nonces, policy, timedelta(hours=1), POLICY, TOKEN)
    transport = httpx2.ASGITransport(app=make_app(deps))
    async with httpx2.AsyncClient(transport=transport, base_url=f"http://{DOMAIN}") as http:
        yield lambda number: Client(http, f"0x{number:064x}", world.now)


def assert_problem(answer: httpx2.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["code"] == code


async def test_a_wallet_signs_in_and_finds_its_account_again(client: MakeClient) -> None:
    alice = client(1)
    first, second = await alice.login(), await alice.login()
    assert first["account_id"] == second["account_id"]
    assert first["session"] != second["session"]
    account = (await alice.get("/v1/account", first["session"])).json()
    assert account["wallets"] == [alice.address.lower()]
    assert (await client(2).login())["account_id"] != first["account_id"]


async def test_a_message_is_accepted_once(client: MakeClient) -> None:
    alice = client(1)
    text = alice.text(await alice.nonce())
    assert (await alice.send(text)).status_code == 201
    assert_problem(await alice.send(text), 401, "credential_invalid")


async def test_a_message_is_accepted_once_even_when_redis_remembers_its_nonce(
    client: MakeClient, nonces: Nonces
) -> None:
    alice = client(1)
    text = alice.text(nonce := await alice.nonce())
    assert (await alice.send(text)).status_code == 201
    await nonces._redis.set(f"licet:licensing:nonce:{nonce}", "1")
    assert_problem(await alice.send(text), 401, "credential_invalid")
    # Nor another message with that nonce.
    await nonces._redis.set(f"licet:licensing:nonce:{nonce}", "1")
    other = alice.text(nonce, expires=alice.now + timedelta(minutes=4))
    assert_problem(await alice.send(other), 401, "credential_invalid")


async def test_a_nonce_that_was_not_issued_or_was_lost_is_refused(client: MakeClient, nonces: Nonces) -> None:
    alice = client(1)
    assert_problem(await alice.send(alice.text("a" * 32)), 401, "credential_invalid")
    nonce = await alice.nonce()
    await nonces._redis.flushdb()
    assert_problem(await alice.send(alice.text(nonce)), 401, "credential_invalid")


@pytest.mark.parametrize(
    "changes",
    [
        {"domain": "evil.test"},
        {"uri": "http://evil.test"},
        {"chain": 1},
        {"expires": datetime(2025, 12, 31, tzinfo=UTC)},
        {"address": "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf"},
    ],
)
async def test_a_message_for_another_place_time_or_form_is_refused(
    client: MakeClient, changes: dict[str, Any]
) -> None:
    alice = client(1)
    answer = await alice.send(alice.text(await alice.nonce(), **changes))
    assert_problem(answer, 401, "credential_invalid")


async def test_a_signature_of_another_wallet_is_refused_and_keeps_the_nonce(client: MakeClient) -> None:
    alice, mallory = client(1), client(2)
    text = alice.text(await alice.nonce())
    assert_problem(await alice.send(text, mallory.signature(text)), 401, "credential_invalid")
    assert (await alice.send(text)).status_code == 201


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.text(max_size=140), st.binary(min_size=65, max_size=65).map(lambda raw: "0x" + raw.hex()))
)
def test_no_bytes_crash_the_recovery_of_a_signer(signature: str) -> None:
    with contextlib.suppress(SignInRefused):
        assert recover_signer("text", signature).startswith("0x")


async def test_a_key_is_shown_once_and_kept_as_a_hash(client: MakeClient, world: World) -> None:
    alice = client(1)
    session = (await alice.login())["session"]
    made = (await alice.post("/v1/keys", session, {"name": "laptop"})).json()
    key = made.pop("key")
    assert key.endswith(made["hint"])
    listed = (await alice.get("/v1/keys", session)).json()
    assert listed == {"data": [made], "has_more": False, "next_cursor": None}
    (row,) = await world.rows("api_keys")
    secret = key.removeprefix("licet_live_").partition("_")[0]
    assert all(secret not in str(value) for value in row)
    assert all(session not in str(value) for row in await world.rows("sessions") for value in row)
    assert (await alice.get("/v1/account", key)).status_code == 200


async def test_a_key_cannot_make_keys(client: MakeClient) -> None:
    alice = client(1)
    session = (await alice.login())["session"]
    key = (await alice.post("/v1/keys", session, {"name": "laptop"})).json()["key"]
    assert_problem(await alice.post("/v1/keys", key, {"name": "more"}), 401, "credential_invalid")


async def test_a_revoked_key_is_refused(client: MakeClient) -> None:
    alice = client(1)
    session = (await alice.login())["session"]
    made = (await alice.post("/v1/keys", session, {"name": "laptop"})).json()
    gone = await alice.http.delete(f"/v1/keys/{made['id']}", headers=bearer(session))
    assert gone.status_code == 204
    assert_problem(await alice.get("/v1/account", made["key"]), 401, "credential_invalid")
    again = await alice.http.delete(f"/v1/keys/{made['id']}", headers=bearer(session))
    assert_problem(again, 404, "not_found")


async def test_a_session_ends(client: MakeClient, world: World) -> None:
    alice = client(1)
    session = (await alice.login())["session"]
    world.clock.advance(3600)
    assert_problem(await alice.get("/v1/account", session), 401, "credential_invalid")


@pytest.fixture
async def holder(client: MakeClient, world: World) -> Client:
    """A client whose wallet holds a license with two windows, and a decision."""
    alice = client(1)
    await world.market()
    await world.buy(to=alice.address.lower())
    end = (await world.grant()).end_time
    await world.hear(renewed(7, 1, end + PERIOD_S, payer=alice.address.lower()))
    await world.lease(alice.address.lower(), wanted=3)
    return alice


async def test_grants_are_listed_page_by_page(holder: Client) -> None:
    session = (await holder.login())["session"]
    first = (await holder.get("/v1/grants?limit=1", session)).json()
    assert first["has_more"]
    second = (await holder.get(f"/v1/grants?limit=1&cursor={first['next_cursor']}", session)).json()
    assert not second["has_more"]
    assert [each["grant_id"] for each in first["data"] + second["data"]] == [grant_id(1, 0), grant_id(1, 1)]
    units = {
        name: first["data"][0][name] for name in ("granted", "free", "leased", "suspended", "spent", "lapsed")
    }
    assert units == {
        "granted": "100", "free": "97", "leased": "3", "suspended": "0", "spent": "0", "lapsed": "0",
    }  # fmt: skip
    assert_problem(await holder.get("/v1/grants?cursor=nonsense", session), 422, "cursor_invalid")
    assert_problem(await holder.get("/v1/grants?limit=201", session), 422, "request_invalid")


async def test_no_route_shows_or_changes_what_is_anothers(
    holder: Client, client: MakeClient, world: World
) -> None:
    """Invariant 8: what another account holds looks as if it did not exist."""
    session = (await holder.login())["session"]
    made = (await holder.post("/v1/keys", session, {"name": "laptop"})).json()
    (decision,) = await world.rows("decisions")
    mallory = client(2)
    token = (await mallory.login())["session"]
    assert (await mallory.get("/v1/grants", token)).json()["data"] == []
    assert (await mallory.get("/v1/keys", token)).json()["data"] == []
    cursor = (await holder.get("/v1/grants?limit=1", session)).json()["next_cursor"]
    assert (await mallory.get(f"/v1/grants?cursor={cursor}", token)).json()["data"] == []
    for answer in (
        await mallory.get(f"/v1/decisions/{decision.decision_id}", token),
        await mallory.post("/v1/explain", token, {"decision_id": decision.decision_id}),
        await mallory.http.delete(f"/v1/keys/{made['id']}", headers=bearer(token)),
    ):
        assert_problem(answer, 404, "not_found")
    assert (await holder.get(f"/v1/decisions/{decision.decision_id}", session)).json()["units"] == "3"
    assert (await holder.get("/v1/account", made["key"])).status_code == 200


async def test_explain_tells_what_a_call_would_meet(holder: Client, client: MakeClient) -> None:
    session = (await holder.login())["session"]
    good = (await holder.post("/v1/explain", session, {"slug": SLUG})).json()
    assert (good["code"], good["steps"][0]["subject"], good["steps"][0]["usable"]) == ("ok", grant_id(), True)
    other = client(2)
    token = (await other.login())["session"]
    assert (await other.post("/v1/explain", token, {"slug": SLUG})).json()["code"] == "license_missing"
    assert_problem(await holder.post("/v1/explain", session, {}), 422, "request_invalid")
    assert_problem(await holder.post("/v1/explain", session, {"slugg": SLUG}), 422, "request_invalid")


async def test_services_ask_whose_a_credential_is(client: MakeClient) -> None:
    alice = client(1)
    opened = await alice.login()
    key = (await alice.post("/v1/keys", opened["session"], {"name": "laptop"})).json()["key"]
    expected = {"account_id": opened["account_id"], "wallets": [alice.address.lower()]}
    for body in ({"api_key": key}, {"session": opened["session"]}):
        assert (await alice.post("/v1/introspect", TOKEN, body)).json() == expected
    assert_problem(
        await alice.post("/v1/introspect", TOKEN, {"api_key": key + "x"}), 401, "credential_invalid"
    )
    assert_problem(await alice.post("/v1/introspect", TOKEN, {}), 422, "request_invalid")
    for token in (opened["session"], key, TOKEN + "x"):
        assert_problem(await alice.post("/v1/introspect", token, {"api_key": key}), 401, "credential_invalid")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/keys"),
        ("GET", "/v1/keys"),
        ("DELETE", "/v1/keys/1"),
        ("GET", "/v1/account"),
        ("GET", "/v1/grants"),
        ("GET", "/v1/decisions/1"),
        ("POST", "/v1/explain"),
        ("POST", "/v1/introspect"),
    ],
)
async def test_every_route_of_an_account_wants_a_credential(
    client: MakeClient, method: str, path: str
) -> None:
    answer = await client(1).http.request(method, path, json={"name": "x"} if method == "POST" else None)
    assert_problem(answer, 401, "credential_missing")
    forged = await client(1).http.request(method, path, headers=bearer("licet_session_" + "0" * 43))
    assert_problem(forged, 401, "credential_invalid")


@pytest.mark.parametrize("text", ["%00", "%0A", "a" * 5000])
async def test_ids_that_no_database_can_hold_are_unknown(client: MakeClient, text: str) -> None:
    alice = client(1)
    session = (await alice.login())["session"]
    assert_problem(await alice.get(f"/v1/decisions/{text}", session), 404, "not_found")
    gone = await alice.http.delete(f"/v1/keys/{text}", headers=bearer(session))
    assert_problem(gone, 404, "not_found")
    cursor = cursors.encode({"after": unquote(text)})
    assert (await alice.get(f"/v1/grants?cursor={cursor}", session)).status_code == 422
    for body in ({"slug": "a\0/b"}, {"asset_id": "0x\0"}):
        assert (await alice.post("/v1/explain", session, body)).json()["code"] == "model_unknown"
    assert_problem(await alice.post("/v1/keys", session, {"name": "a\0b"}), 422, "request_invalid")


async def test_the_api_describes_itself_as_openapi_3_1(client: MakeClient) -> None:
    described = (await client(1).http.get("/openapi.json")).json()
    assert described["openapi"].startswith("3.1")
    assert "/v1/introspect" in described["paths"]


async def test_an_absent_redis_refuses_and_says_so(
    world: World, proxy: Callable[[str, int], Awaitable[Any]], servers: dict[str, Any]
) -> None:
    port = int(servers["redis"]["url"].rsplit(":", 1)[1].partition("/")[0])
    door = await proxy("127.0.0.1", port)
    nonces = Nonces(f"redis://127.0.0.1:{door.port}/0", timedelta(minutes=5))
    policy = SignInPolicy(DOMAIN, f"http://{DOMAIN}", frozenset({CHAIN_ID}))
    deps = Deps(world.engine, world.clock, nonces, policy, timedelta(hours=1), POLICY, TOKEN)
    transport = httpx2.ASGITransport(app=make_app(deps))
    async with httpx2.AsyncClient(transport=transport, base_url=f"http://{DOMAIN}") as http:
        await door.cut()
        answer = await http.post("/v1/auth/nonce")
    await nonces.close()
    assert_problem(answer, 503, "sign_in_unavailable")
