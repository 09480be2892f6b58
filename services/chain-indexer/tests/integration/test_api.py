"""The read API over a mirror of a real chain."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from licet_indexer.api import make_app
from licet_indexer.main import MIGRATIONS
from licet_indexer.testing.emitter import event_entry
from licet_indexer.testing.pilot import catch_up, leading
from licet_indexer.testing.scene import Scene
from licet_indexer.testing.story import Said, Story
from licet_kit.cursor import encode
from licet_kit.db import open_engine
from licet_kit.testing.plugin import CreateDatabase

A, B = b"\xa1" * 32, b"\xa2" * 32
OWNER, BUYER, OPERATOR, TOKEN = ("0x" + byte * 20 for byte in ("0a", "0b", "0c", "0d"))
WIDE = 2**255 + 7


def registered(asset: bytes, token_id: int, slug: str) -> Said:
    values = {"assetId": asset, "tokenId": token_id, "owner": OWNER, "kind": 1, "slug": slug}
    return "AssetRegistry", event_entry("AssetRegistry", "AssetRegistered", values)


def published(digest: bytes, ordinal: int) -> Said:
    values = {"assetId": A, "digest": digest, "uri": f"ipfs://{ordinal}", "ordinal": ordinal}
    return "AssetRegistry", event_entry("AssetRegistry", "VersionPublished", values)


def activated(digest: bytes) -> Said:
    return "AssetRegistry", event_entry("AssetRegistry", "VersionActivated", {"assetId": A, "digest": digest})


def created(plan_id: int) -> Said:
    price = (TOKEN, 50, 3, 5_000_000, 3600, 100, 7, 600, 20, "request")
    limits = (10, True, False, 5, 1000, OPERATOR, 7 * 86_400, 4)
    values = {
        "planId": plan_id,
        "assetId": A,
        "creator": OWNER,
        "terms": (A, *price, *limits, b"\x03" * 32, b"\x04" * 32),
    }
    return "PlanBook", event_entry("PlanBook", "PlanCreated", values)


def purchased(token_id: int) -> Said:
    values = {
        "tokenId": token_id,
        "planId": 1,
        "assetId": A,
        "payer": BUYER,
        "recipient": BUYER,
        "price": 5_000_000,
        "startTime": 10,
        "endTime": 20,
        "trial": False,
    }
    return "LicenseSale", event_entry("LicenseSale", "LicensePurchased", values)


def escrow(name: str, **values: Any) -> Said:
    deposit = {"depositId": b"\xde" * 32, "payer": BUYER, "operator": OPERATOR, "token": TOKEN}
    return "UsageEscrow", event_entry("UsageEscrow", name, deposit | values)


def opened(number: int, asset: bytes) -> Said:
    token, end = "0x" + f"{number:040x}", 2**40
    values = {"token": token, "planId": 1, "assetId": asset}
    terms = (1, asset, TOKEN, 7, 2**64 - 1, end, True)
    return "Credits", event_entry("Credits", "SeriesOpened", values | {"series": terms})


BLOCKS: list[list[Said]] = [
    [registered(A, WIDE, "acme/risk"), registered(B, 2, "acme/other")],
    [published(bytes([n]) * 32, n) for n in (1, 2, 3)],
    [activated(b"\x02" * 32), created(1), created(2)],
    [("PlanBook", event_entry("PlanBook", "PlanClosed", {"planId": 2, "assetId": A}))],
    [purchased(n) for n in (1, 2, WIDE)],
    [
        escrow("Deposited", amount=100, spendable=100, total=100),
        escrow("ExitRequested", exitId=4, amount=30, unlockTime=99, spendable=70, total=70),
        escrow("ExitRequested", exitId=5, amount=10, unlockTime=98, spendable=60, total=60),
        escrow("Withdrawn", exitId=5, amount=10),
    ],
    [opened(n, asset) for n, asset in ((1, A), (2, B))],
]


@pytest.fixture
async def client(stage: Scene, database: CreateDatabase) -> AsyncIterator[httpx2.AsyncClient]:
    await stage.tell(BLOCKS)
    async with open_engine(await database(MIGRATIONS)) as engine:
        async with leading(engine, stage.chain()) as follower:
            await catch_up(follower)
            await follower.heard(None)
        transport = httpx2.ASGITransport(app=make_app(engine))
        async with httpx2.AsyncClient(transport=transport, base_url="http://indexer") as opened:
            yield opened


async def get(client: httpx2.AsyncClient, path: str, **params: Any) -> Any:
    response = await client.get(path, params=params)
    assert response.status_code == 200, response.text
    return response.json()


async def pages(client: httpx2.AsyncClient, path: str, **params: Any) -> list[Any]:
    found: list[Any] = []
    cursor = None
    while True:
        page = await get(client, path, limit=1, **params, **({"cursor": cursor} if cursor else {}))
        found += page["data"]
        assert len(page["data"]) <= 1
        if not page["has_more"]:
            assert page["next_cursor"] is None
            return found
        cursor = page["next_cursor"]


async def test_chains_say_how_far_their_mirrors_are(client: httpx2.AsyncClient, stage: Scene) -> None:
    (chain,) = (await get(client, "/v1/chains"))["data"]
    head = await stage.anvil.block_number()
    assert chain["head"]["block_number"] == chain["node_head"] == head
    assert chain["head"]["block_hash"] == await stage.block_hash(head)
    assert chain["final"]["block_number"] == head - 2
    assert (chain["state"], chain["lag"], chain["halt_reason"]) == ("following", 0, None)


async def test_every_answer_carries_the_position(client: httpx2.AsyncClient, stage: Scene) -> None:
    head = await stage.anvil.block_number()
    position = {
        "chain_id": 31337,
        "block_number": head,
        "block_hash": await stage.block_hash(head),
        "final": head - 2,
    }
    for path in (f"/v1/assets/0x{A.hex()}", "/v1/plans/31337/1", "/v1/licenses/31337/1"):
        assert (await get(client, path))["position"] == position
    asset = f"0x{A.hex()}"
    for path in ("/v1/chains", "/v1/assets", "/v1/plans", "/v1/licenses", "/v1/deposits", "/v1/batches"):
        assert (await get(client, path))["positions"] == [position]
    assert (await get(client, "/v1/events", asset_id=asset))["positions"] == [position]
    assert (await get(client, f"/v1/assets/{asset}/versions"))["positions"] == [position]


async def test_asset_is_found_by_id_and_by_slug(client: httpx2.AsyncClient) -> None:
    by_id = await get(client, f"/v1/assets/0x{A.hex().upper()}")
    by_slug = await get(client, "/v1/assets/by-slug/acme/risk")
    assert by_id == by_slug
    assert by_id["token_id"] == str(WIDE)
    assert by_id["owner"] == OWNER
    assert by_id["active_version"] == "0x" + "02" * 32
    assert by_id["version_count"] == 3


async def test_versions_tell_which_is_active(client: httpx2.AsyncClient) -> None:
    versions = await pages(client, f"/v1/assets/0x{A.hex()}/versions")
    assert [(v["ordinal"], v["active"], v["uri"]) for v in versions] == [
        (1, False, "ipfs://1"),
        (2, True, "ipfs://2"),
        (3, False, "ipfs://3"),
    ]


async def test_series_of_credits_are_filtered_and_say_their_terms(client: httpx2.AsyncClient) -> None:
    tokens = ["0x" + f"{number:040x}" for number in (1, 2)]
    assert [s["token"] for s in await pages(client, "/v1/credits")] == tokens
    for where in ({"asset_id": f"0x{B.hex()}"}, {"token": tokens[1]}):
        assert [s["token"] for s in await pages(client, "/v1/credits", **where)] == tokens[1:]
    (series,) = await pages(client, "/v1/credits", token=tokens[0])
    assert (series["unit_price"], series["supply"], series["expires_at"]) == ("7", str(2**64 - 1), 2**40)
    assert (series["issued"], series["redeemed"], series["expired"]) == ("0", "0", "0")


async def test_plans_are_filtered_and_say_their_terms(client: httpx2.AsyncClient) -> None:
    assert [p["plan_id"] for p in await pages(client, "/v1/plans", asset_id=f"0x{A.hex()}")] == ["1", "2"]
    assert [p["plan_id"] for p in await pages(client, "/v1/plans", open="true")] == ["1"]
    assert await pages(client, "/v1/plans", asset_id=f"0x{B.hex()}") == []
    plan = await get(client, "/v1/plans/31337/1")
    assert (plan["price"], plan["unit_price"], plan["metering_rule"]) == ("5000000", "7", "request")
    assert (plan["server"], plan["transferable"], plan["open"]) == (OPERATOR, True, True)
    assert not plan["commercial"]


async def test_licenses_are_paged_in_order_of_their_wide_ids(client: httpx2.AsyncClient) -> None:
    held = await pages(client, "/v1/licenses", holder=BUYER.upper().replace("0X", "0x"))
    assert [one["token_id"] for one in held] == ["1", "2", str(WIDE)]
    one = await get(client, f"/v1/licenses/31337/{WIDE}")
    assert (one["plan_id"], one["asset_id"], one["end_time"]) == ("1", f"0x{A.hex()}", 20)
    assert await pages(client, "/v1/licenses", holder=OWNER) == []


async def test_deposits_show_their_open_exits_alone(client: httpx2.AsyncClient) -> None:
    (deposit,) = await pages(client, "/v1/deposits", payer=BUYER)
    assert (deposit["total"], deposit["drawn"], deposit["spendable"]) == ("60", "0", "60")
    (waiting,) = deposit["exits"]
    assert (waiting["exit_id"], waiting["amount"], waiting["unlock_time"]) == ("4", "30", 99)
    assert deposit["is_final"] is False


async def test_events_of_an_asset_go_on_after_a_cursor(client: httpx2.AsyncClient, stage: Scene) -> None:
    asset = f"0x{A.hex()}"
    first = await get(client, "/v1/events", asset_id=asset, limit=6)
    rest = await get(client, "/v1/events", asset_id=asset, after=first["next_cursor"])
    assert (first["has_more"], rest["has_more"]) == (True, False)
    events = first["data"] + rest["data"]
    places = [(e["block_number"], e["log_index"]) for e in events]
    assert places == sorted(set(places))
    assert [e["name"] for e in events][:5] == [
        "AssetRegistered",
        "VersionPublished",
        "VersionPublished",
        "VersionPublished",
        "VersionActivated",
    ]
    assert events[0]["payload"]["token_id"] == str(WIDE)
    nothing = await get(client, "/v1/events", asset_id=asset, after=rest["next_cursor"])
    assert (nothing["data"], nothing["next_cursor"]) == ([], rest["next_cursor"])


BAD: list[tuple[str, dict[str, str | int], int]] = [
    ("/v1/assets/0x12", {}, 422),
    ("/v1/assets", {"owner": "me"}, 422),
    ("/v1/assets", {"limit": 0}, 422),
    ("/v1/assets", {"limit": 201}, 422),
    ("/v1/assets", {"cursor": "nonsense!"}, 400),
    ("/v1/assets", {"cursor": encode({"chain_id": 1})}, 400),
    (
        "/v1/assets",
        {"cursor": encode({"chain_id": 2**63, "registered_block": 1, "asset_id": "0x" + "aa" * 32})},
        400,
    ),
    ("/v1/assets", {"cursor": encode({"chain_id": 1, "registered_block": 1, "asset_id": "0x\0"})}, 400),
    ("/v1/licenses", {"cursor": encode({"chain_id": 1, "token_id": -1})}, 400),
    ("/v1/licenses", {"cursor": encode({"chain_id": 1, "token_id": True})}, 400),
    ("/v1/events", {}, 422),
    (
        "/v1/events",
        {"chain_id": 1, "after": encode({"chain_id": 1, "block_number": 1, "log_index": 2**40})},
        400,
    ),
    ("/v1/plans/1/0x5", {}, 422),
    (f"/v1/plans/1/{10**77 * 9}", {}, 422),
    (f"/v1/plans/{2**63}/1", {}, 422),
    ("/v1/licenses", {"plan_id": str(10**77 * 9)}, 422),
    ("/v1/assets/by-slug/Acme/risk", {}, 422),
    ("/v1/assets/by-slug/acme/nothing", {}, 404),
    ("/v1/assets/0x" + "99" * 32, {}, 404),
    ("/v1/assets/0x" + "99" * 32 + "/versions", {}, 404),
    ("/v1/plans/31337/99", {}, 404),
    ("/v1/plans/77/1", {}, 404),
    ("/v1/licenses/31337/99", {}, 404),
    ("/v1/nothing", {}, 404),
]


async def test_bad_requests_get_a_problem_with_a_code(client: httpx2.AsyncClient) -> None:
    for path, params, status in BAD:
        response = await client.get(path, params=params)
        assert response.status_code == status, (path, params, response.text)
        assert response.headers["content-type"] == "application/problem+json", path
        problem = response.json()
        assert problem["status"] == status
        assert problem["code"], path


async def test_random_story_is_served_without_an_error(stage: Scene, database: CreateDatabase) -> None:
    story = Story(random.Random(2))
    await stage.tell([[story.next() for _ in range(40)] for _ in range(6)])
    async with open_engine(await database(MIGRATIONS)) as engine:
        async with leading(engine, stage.chain()) as follower:
            await catch_up(follower)
        transport = httpx2.ASGITransport(app=make_app(engine))
        async with httpx2.AsyncClient(transport=transport, base_url="http://indexer") as client:
            for path in ("assets", "plans", "licenses", "deposits", "batches"):
                assert await pages(client, f"/v1/{path}"), path
            assert (await get(client, "/v1/events", chain_id=31337, limit=200))["has_more"]


async def test_openapi_describes_every_route(client: httpx2.AsyncClient) -> None:
    document = await get(client, "/openapi.json")
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        (operation,) = operations.values()
        assert operation["summary"], path
        assert "$ref" in operation["responses"]["200"]["content"]["application/json"]["schema"], path
