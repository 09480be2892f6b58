"""The routes on a real store and Postgres; licensing's introspection answers over HTTP as its interface says."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from licet_kit.db import reading, transaction
from licet_schemas.manifest import Manifest, digest_bytes
from licet_vault import api, db
from licet_vault.api import Deps, make_app
from licet_vault.clients.licensing import Licensing
from licet_vault.db.tables import MANIFEST
from licet_vault.domain import State, VersionState
from licet_vault.store import MasterKey, ObjectStore
from licet_vault.uploads import UploadLimits
from licet_vault.usecases.loading import Interface, verified_interface
from licet_vault.usecases.states import change_state
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

WORKER_TOKEN = "worker-token"
LIMIT_BYTES = 3 << 20
LIMITS = UploadLimits(max_bytes=LIMIT_BYTES, slots=2, idle_s=0.5, min_bytes_per_s=1000)
ALICE, BOB = "licet_live_alice", "licet_session_bob"


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    made = ObjectStore(tmp_path / "store", MasterKey(bytes(32)), limit_bytes=LIMIT_BYTES)
    made.prepare()
    return made


@pytest.fixture
def told() -> list[str]:
    """Filled by every manifest that the reconcilers are told of."""
    return []


@pytest.fixture
async def client(
    engine: AsyncEngine, store: ObjectStore, licensing_url: str, told: list[str]
) -> AsyncIterator[httpx2.AsyncClient]:
    licensing = Licensing(licensing_url, WORKER_TOKEN)
    deps = Deps(
        engine=engine,
        store=store,
        licensing=licensing,
        on_manifest=lambda: told.append("manifest"),
        uploads=LIMITS,
    )
    transport = httpx2.ASGITransport(app=make_app(deps))
    async with httpx2.AsyncClient(transport=transport, base_url="http://vault") as opened:
        yield opened
    await licensing.close()


def bearer(credential: str) -> dict[str, str]:
    return {"authorization": f"Bearer {credential}"}


async def put(
    client: httpx2.AsyncClient, content: bytes, name: str = "", credential: str = ALICE
) -> httpx2.Response:
    return await client.put(
        f"/v1/artifacts/{name or digest_bytes(content)}", content=content, headers=bearer(credential)
    )


async def publish(
    client: httpx2.AsyncClient, files: dict[str, bytes], credential: str = ALICE
) -> httpx2.Response:
    for name, body in files.items():
        if name != "manifest.json":
            assert (await put(client, body, credential=credential)).status_code in (200, 201)
    return await client.post("/v1/manifests", content=files["manifest.json"], headers=bearer(credential))


async def test_an_artefact_is_stored_once_and_its_repetition_is_harmless(
    client: httpx2.AsyncClient, store: ObjectStore
) -> None:
    content = bytes(range(256)) * 8000
    first, again = await put(client, content), await put(client, content)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == {"sha256": digest_bytes(content), "size_bytes": len(content)}
    assert b"".join(store.read(digest_bytes(content))) == content


async def test_a_published_model_gets_its_manifests_digest(
    client: httpx2.AsyncClient, tumour_files: dict[str, bytes], told: list[str]
) -> None:
    indented = json.dumps(json.loads(tumour_files["manifest.json"]), indent=2).encode()
    created = await publish(client, {**tumour_files, "manifest.json": indented})
    assert created.status_code == 201
    digest = digest_bytes(tumour_files["manifest.json"])
    assert created.json() == {"digest": digest}
    assert told == ["manifest"]
    repeated = await publish(client, tumour_files)
    assert (repeated.status_code, repeated.json()) == (200, {"digest": digest})
    stored = await client.get(f"/v1/manifests/{digest}")
    assert stored.content == tumour_files["manifest.json"]


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({}, "credential_missing"),
        ({"authorization": "Basic abc"}, "credential_missing"),
        (bearer("licet_live_unknown"), "credential_invalid"),
        (bearer("licet_session_unknown"), "credential_invalid"),
        (bearer("x" * 600), "credential_invalid"),
    ],
)
async def test_a_stranger_stores_nothing(
    header: dict[str, str], code: str, client: httpx2.AsyncClient, store: ObjectStore
) -> None:
    answer = await client.put(f"/v1/artifacts/{digest_bytes(b'x')}", content=b"x", headers=header)
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert not store.has(digest_bytes(b"x"))
    posted = await client.post("/v1/manifests", content=b"{}", headers=header)
    assert (posted.status_code, posted.json()["code"]) == (401, code)


async def test_nobody_is_let_in_while_licensing_is_away(
    engine: AsyncEngine, store: ObjectStore, unused_tcp_port: int
) -> None:
    licensing = Licensing(f"http://127.0.0.1:{unused_tcp_port}", WORKER_TOKEN)
    deps = Deps(engine, store, licensing, lambda: None, LIMITS)
    transport = httpx2.ASGITransport(app=make_app(deps))
    async with httpx2.AsyncClient(transport=transport, base_url="http://vault") as client:
        answer = await put(client, b"x")
    assert (answer.status_code, answer.json()["code"]) == (503, "licensing_unavailable")
    assert answer.headers["retry-after"] == "1"
    await licensing.close()


@pytest.mark.parametrize("name", ["0x00", "../../etc/passwd", "0x" + "A" * 64, "0x" + "g" * 64, "a" * 64])
async def test_a_name_that_is_no_digest_is_refused(name: str, client: httpx2.AsyncClient) -> None:
    answer = await client.put(f"/v1/artifacts/{name}", content=b"x", headers=bearer(ALICE))
    assert answer.status_code in (404, 422)


async def test_bytes_under_a_wrong_digest_are_refused(client: httpx2.AsyncClient, store: ObjectStore) -> None:
    name = digest_bytes(b"announced")
    answer = await put(client, b"other", name)
    assert (answer.status_code, answer.json()["code"]) == (422, "digest_mismatch")
    assert not store.has(name)


@pytest.mark.parametrize("announced", [True, False], ids=["told", "streamed"])
async def test_an_oversized_artefact_is_refused(
    announced: bool, client: httpx2.AsyncClient, tmp_path: Path
) -> None:
    sent = 0

    async def stream() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(64):
            sent += 1
            yield bytes(1 << 20)

    headers = bearer(ALICE) | ({"content-length": str(64 << 20)} if announced else {})
    answer = await client.put(f"/v1/artifacts/{digest_bytes(b'x')}", content=stream(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "request_too_large")
    assert not [p for p in (tmp_path / "store").rglob("*") if p.is_file()]


async def test_an_upload_that_stalls_is_cut_off_and_leaves_nothing(
    client: httpx2.AsyncClient, tmp_path: Path
) -> None:
    async def stall() -> AsyncIterator[bytes]:
        yield b"begun"
        await asyncio.Event().wait()

    answer = await client.put(f"/v1/artifacts/{digest_bytes(b'x')}", content=stall(), headers=bearer(ALICE))
    assert (answer.status_code, answer.json()["code"]) == (408, "upload_stalled")
    assert not [p for p in (tmp_path / "store").rglob("*") if p.is_file()]


async def _trickle(until: asyncio.Event) -> AsyncIterator[bytes]:
    while not until.is_set():
        yield b"x"
        await asyncio.sleep(0.1)


async def test_an_upload_that_trickles_is_cut_off(client: httpx2.AsyncClient) -> None:
    slow = client.put(
        f"/v1/artifacts/{digest_bytes(b'x')}", content=_trickle(asyncio.Event()), headers=bearer(ALICE)
    )
    answer = await asyncio.wait_for(slow, 5)
    assert (answer.status_code, answer.json()["code"]) == (408, "upload_stalled")


async def test_an_upload_as_fast_as_must_be_may_take_long(client: httpx2.AsyncClient) -> None:
    async def steady() -> AsyncIterator[bytes]:
        for _ in range(12):
            yield bytes(200)
            await asyncio.sleep(0.1)

    answer = await client.put(
        f"/v1/artifacts/{digest_bytes(bytes(2400))}", content=steady(), headers=bearer(ALICE)
    )
    assert answer.status_code == 201


async def test_one_account_leaves_slots_to_the_others_and_nobody_waits_for_long(
    client: httpx2.AsyncClient,
) -> None:
    async def held(credential: str, until: asyncio.Event) -> httpx2.Response:
        async def stream() -> AsyncIterator[bytes]:
            while not until.is_set():
                yield bytes(1000)
                await asyncio.sleep(0.1)

        return await client.put(
            f"/v1/artifacts/{digest_bytes(b'x')}", content=stream(), headers=bearer(credential)
        )

    end = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(held(ALICE, end))
        await asyncio.sleep(0.2)
        refused = await asyncio.wait_for(put(client, b"second of Alice"), 5)
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        assert (await put(client, b"of Bob", credential=BOB)).status_code == 201
        tasks.create_task(held(BOB, end))
        await asyncio.sleep(0.2)
        assert (await asyncio.wait_for(put(client, b"of Bob", credential=BOB), 5)).status_code == 503
        end.set()
    assert (await put(client, b"second of Alice")).status_code == 201


async def test_a_manifest_cannot_name_what_only_another_account_has_uploaded(
    client: httpx2.AsyncClient, tumour_files: dict[str, bytes], engine: AsyncEngine
) -> None:
    """Manifests, and so the digests of weights, are public; the weights must not come with them."""
    assert (await publish(client, tumour_files, ALICE)).status_code == 201
    stolen = await client.post("/v1/manifests", content=tumour_files["manifest.json"], headers=bearer(BOB))
    assert (stolen.status_code, stolen.json()["code"]) == (422, "artifact_missing")
    async with reading(engine) as session:
        assert await db.is_publisher(session, digest_bytes(tumour_files["manifest.json"]), "0x" + "a" * 40)
        assert not await db.is_publisher(
            session, digest_bytes(tumour_files["manifest.json"]), "0x" + "b" * 40
        )


async def test_an_artefact_that_is_missing_is_named(
    client: httpx2.AsyncClient, tumour_files: dict[str, bytes]
) -> None:
    del (files := dict(tumour_files))["scaler.json"]
    answer = await publish(client, files)
    assert (answer.status_code, answer.json()["code"]) == (422, "artifact_missing")
    assert "scaler.json" in answer.json()["detail"]


def _size(manifest: dict[str, Any]) -> None:
    manifest["artifacts"][0]["size_bytes"] += 1


def _rule(manifest: dict[str, Any]) -> None:
    manifest["metering_rule"] = "rows:NOTHING"


def _columns(manifest: dict[str, Any]) -> None:
    manifest["inputs"][0]["shape"] = [-1, 31]


@pytest.mark.parametrize("change", [_size, _rule, _columns])
async def test_a_manifest_that_does_not_fit_is_refused(
    change: Callable[[dict[str, Any]], None],
    client: httpx2.AsyncClient,
    tumour_files: dict[str, bytes],
    engine: AsyncEngine,
) -> None:
    manifest = json.loads(tumour_files["manifest.json"])
    change(manifest)
    answer = await publish(client, {**tumour_files, "manifest.json": json.dumps(manifest).encode()})
    assert (answer.status_code, answer.json()["code"]) == (422, "manifest_invalid")
    async with reading(engine) as session:
        assert await session.scalar(select(func.count()).select_from(MANIFEST)) == 0


async def test_manifests_are_checked_one_at_a_time_and_once(
    client: httpx2.AsyncClient, tumour_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each check holds a graph in memory; the same small request must not multiply it."""
    running, most, checked = 0, 0, 0

    def slow(store: ObjectStore, manifest: Manifest) -> Interface:
        nonlocal running, most, checked
        running, checked = running + 1, checked + 1
        most = max(most, running)
        time.sleep(0.1)
        running -= 1
        return verified_interface(store, manifest)

    assert (await publish(client, tumour_files)).status_code == 201
    monkeypatch.setattr(api, "verified_interface", slow)
    document = json.loads(tumour_files["manifest.json"])
    others = [json.dumps(document | {"summary": text}).encode() for text in ("one", "two", "two", "two")]
    answers = await asyncio.gather(
        *(
            client.post("/v1/manifests", content=body, headers=bearer(ALICE))
            for body in (tumour_files["manifest.json"], *others)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201, 201]
    assert (most, checked) == (1, 2)


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"{" * 100, b" " * (1 << 20)])
async def test_what_is_no_manifest_is_refused(body: bytes, client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/manifests", content=body, headers=bearer(ALICE))
    assert answer.status_code in (413, 422)
    assert answer.json()["code"] in ("manifest_invalid", "request_too_large")


async def test_an_unknown_manifest_is_not_found(client: httpx2.AsyncClient) -> None:
    answer = await client.get(f"/v1/manifests/{'0x' + '0' * 64}")
    assert (answer.status_code, answer.json()["code"]) == (404, "manifest_unknown")


async def _fill(engine: AsyncEngine, count: int) -> None:
    for i in range(count):
        state = VersionState(
            asset_id=f"0xa{i}",
            slug="acme/risk" if i % 2 else "acme/other",
            digest="0x1",
            triton_model=f"acme.risk-{i}",
            triton_url="http://internal:8000",
            state=State.READY,
            schema_json='{"inputs":[]}',
        )
        async with transaction(engine) as session:
            await change_state(session, state)


async def test_versions_are_listed_page_by_page(client: httpx2.AsyncClient, engine: AsyncEngine) -> None:
    await _fill(engine, 5)
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (
            await client.get("/v1/versions", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        ).json()
        seen += [version["asset_id"] for version in page["data"]]
        cursor = page["next_cursor"]
        assert page["has_more"] == (cursor is not None)
    assert seen == [f"0xa{i}" for i in range(5)]
    assert len((await client.get("/v1/versions", params={"slug": "acme/risk"})).json()["data"]) == 2
    (one,) = (await client.get("/v1/versions", params={"asset_id": "0xa3"})).json()["data"]
    assert (one["state"], one["version"], one["interface"]) == ("ready", 1, {"inputs": []})
    assert "internal" not in json.dumps(one)


@pytest.mark.parametrize(
    "query",
    [
        "cursor=x",
        "cursor=e30",
        "cursor=eyJhc3NldF9pZCI6MX0",
        # {"asset_id": "\\0", "digest": "x", "triton_url": "y"}
        "cursor=eyJhc3NldF9pZCI6Ilx1MDAwMCIsImRpZ2VzdCI6IngiLCJ0cml0b25fdXJsIjoieSJ9",
        "slug=%00",
        "asset_id=a%00b",
        "limit=0",
        "limit=1000",
    ],
)
async def test_a_query_that_cannot_be_meant_is_refused(query: str, client: httpx2.AsyncClient) -> None:
    assert (await client.get(f"/v1/versions?{query}")).status_code in (400, 422)
