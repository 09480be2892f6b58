"""The vault as its own process, killed where it hurts: real Kafka, Postgres, Triton and HTTP."""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import onnx
import pytest
from licet_kit.ids import new_id
from licet_kit.kafka import Fanout, Message, protobuf
from licet_kit.lifecycle import Service
from licet_kit.producer import Producer
from licet_kit.testing.http import http_client
from licet_schemas import manifest as manifests
from licet_schemas.licet.vault.v1.vault_pb2 import VersionStateChanged
from licet_schemas.manifest import digest_bytes
from licet_vault.db import MIGRATIONS
from licet_vault.domain import pinned_name
from licet_vault.settings import VaultSettings
from licet_vault.testing.process import (
    ALICE,
    DEADLINE_S,
    MASTER_KEY,
    Chain,
    Eventually,
    Process,
    infer,
    is_ready,
    on_disk,
    publish,
    settings_for,
    staged,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where everything of the process is that is not memory: working folder, temporary files, store, log."""
    (tmp_path / "tmp").mkdir()
    return tmp_path


@pytest.fixture
async def environment(
    folder: Path,
    servers: dict[str, Any],
    database: Callable[..., Awaitable[str]],
    create_topics: Callable[..., Awaitable[None]],
    topic_prefix: str,
    triton_url: str,
    triton_repository: Path,
    licensing_url: str,
    unused_tcp_port_factory: Callable[[], int],
) -> dict[str, str]:
    await create_topics("chain.event", "vault.version", "chain.event.parked")
    key = folder / "master.key"
    key.write_text(MASTER_KEY + "\n")
    return {
        "DATABASE_URL": await database(MIGRATIONS),
        "KAFKA_BOOTSTRAP": servers["kafka"]["bootstrap"],
        "KAFKA_TOPIC_PREFIX": topic_prefix,
        "TRITON_URLS": triton_url,
        "LICENSING_WORKER_TOKEN": "worker-token",
        "TMPDIR": str(folder / "tmp"),
        "VAULT_HTTP_PORT": str(unused_tcp_port_factory()),
        "VAULT_ADMIN_PORT": str(unused_tcp_port_factory()),
        "VAULT_LICENSING_URL": licensing_url,
        "VAULT_MASTER_KEY_FILE": str(key),
        "VAULT_POLL_INTERVAL_S": "0.1",
        "VAULT_REPOSITORY_DIR": str(triton_repository),
        "VAULT_STORE_DIR": str(folder / "store"),
    }


@pytest.fixture
async def vault(environment: dict[str, str], folder: Path) -> AsyncIterator[Process]:
    process = Process(environment, folder)
    await process.start()
    yield process
    process.kill()


@pytest.fixture
def settings(environment: dict[str, str]) -> VaultSettings:
    """For the test's own producer and reader."""
    return settings_for(environment)


@pytest.fixture
async def told(settings: VaultSettings) -> AsyncIterator[list[VersionStateChanged]]:
    """Everything on vault.version, as a gateway reads it."""
    seen: list[VersionStateChanged] = []

    async def keep(message: Message[VersionStateChanged]) -> None:
        seen.append(message.value)

    reader = Fanout(
        settings, topic="vault.version", decode=protobuf(VersionStateChanged), handler=keep, back_s=None
    )
    stop = asyncio.Event()
    service: Service = reader.run
    running = asyncio.create_task(service(stop))
    yield seen
    stop.set()
    await running


@pytest.fixture
async def chain(settings: VaultSettings) -> AsyncIterator[Chain]:
    async with Producer(settings, source="indexer") as producer:
        yield Chain(producer)


@pytest.fixture
def marker() -> bytes:
    """Bytes that are in this test's weights and nowhere else on the machine."""
    return f"weights-{new_id()}{new_id()}".encode()


@pytest.fixture
def files(tumour_files: dict[str, bytes], marker: bytes) -> dict[str, bytes]:
    """The example with the marker inside of its graph, and in another form inside of its schema."""
    graph = onnx.load_from_string(tumour_files["model.onnx"])
    graph.metadata_props.add(key="marker", value=marker.decode())
    schema = json.loads(tumour_files["features.json"])
    schema["features"][0]["unit"] = _in_schema(marker).decode()
    changed = {"model.onnx": graph.SerializeToString(), "features.json": json.dumps(schema).encode()}
    manifest = json.loads(tumour_files["manifest.json"])
    for artifact in manifest["artifacts"]:
        if body := changed.get(artifact["name"]):
            artifact.update(sha256=digest_bytes(body), size_bytes=len(body))
    return {**tumour_files, **changed, "manifest.json": manifests.canonical(manifest)}


def _in_schema(marker: bytes) -> bytes:
    return marker[::-1]


async def test_from_upload_and_chain_to_triton_without_plaintext_on_a_disk(
    vault: Process,
    chain: Chain,
    files: dict[str, bytes],
    marker: bytes,
    told: list[VersionStateChanged],
    triton_url: str,
    triton_log: Path,
    triton_repository: Path,
    repository: Path,
    folder: Path,
    eventually: Eventually,
) -> None:
    since = time.time() - 1
    digest = await publish(vault.url, files)
    await chain.activate(digest)
    await eventually(lambda: is_ready(told, chain.asset_id), deadline_s=DEADLINE_S)
    name = pinned_name(chain.slug, digest)
    assert infer(triton_url, name) == 200
    ready = next(m for m in told if m.state == "ready")
    assert (ready.triton_model, ready.metering_rule, ready.triton_url) == (name, "rows:FEATURES", triton_url)
    listed = httpx2.get(f"{vault.url}/v1/versions", params={"slug": chain.slug}).json()["data"]
    assert [(v["version_digest"], v["state"]) for v in listed] == [(digest, "ready")]
    assert re.search(r"^Max core file size +0 +0 ", vault.limits(), re.MULTILINE)
    vault.kill()
    # It is where it must be, so the search below can find it.
    assert on_disk(marker, [triton_repository], since)
    assert on_disk(_in_schema(marker), [triton_repository], since)
    disks = [folder, triton_log.parent, repository / ".local/triton"]
    assert on_disk(marker, [*disks, Path(tempfile.gettempdir())], since) == []
    # The schema is told in events, so that brokers may hold it wherever they keep their data.
    assert on_disk(_in_schema(marker), disks, since) == []


async def test_a_killed_vault_acts_on_what_it_missed_and_tells_what_it_has(
    vault: Process,
    chain: Chain,
    files: dict[str, bytes],
    told: list[VersionStateChanged],
    triton_url: str,
    eventually: Eventually,
) -> None:
    digest = await publish(vault.url, files)
    vault.kill()
    await chain.activate(digest)
    await vault.start()
    await eventually(lambda: is_ready(told, chain.asset_id), deadline_s=DEADLINE_S)
    vault.kill()
    assert infer(triton_url, pinned_name(chain.slug, digest)) == 200
    last = told[-1]
    before = len(told)
    await vault.start()
    await eventually(lambda: len(told) > before, deadline_s=DEADLINE_S)
    assert told[before:] == [last]
    assert infer(triton_url, pinned_name(chain.slug, digest)) == 200


async def test_a_vault_killed_while_it_writes_the_repository_serves_only_whole_versions(
    vault: Process,
    chain: Chain,
    files: dict[str, bytes],
    told: list[VersionStateChanged],
    triton_url: str,
    triton_repository: Path,
    eventually: Eventually,
) -> None:
    """Killed when the first byte is staged, when the first folder is in place, and when Triton is told to load."""
    digest = await publish(vault.url, files)
    await chain.activate(digest)
    name = pinned_name(chain.slug, digest)
    for sign in (f"*{name}*", f"{name}.pipeline", name):
        await eventually(lambda sign=sign: list(triton_repository.glob(sign)), deadline_s=DEADLINE_S)
        vault.kill()
        await vault.start()
    await eventually(lambda: is_ready(told, chain.asset_id), deadline_s=DEADLINE_S)
    assert infer(triton_url, name) == 200
    assert not staged(triton_repository)


async def test_a_vault_killed_in_mid_upload_keeps_nothing_of_it(vault: Process, folder: Path) -> None:
    content = os.urandom(5 << 20)
    path = f"/v1/artifacts/{digest_bytes(content)}"
    half_sent = asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        for at in range(0, len(content) // 2, 1 << 16):
            yield content[at : at + (1 << 16)]
        half_sent.set()
        await asyncio.Event().wait()

    async with http_client(base_url=vault.url, headers=ALICE, timeout=30) as client:
        upload = asyncio.create_task(client.put(path, content=half()))
        await half_sent.wait()
        deadline = time.monotonic() + DEADLINE_S
        while not sum(p.stat().st_size for p in (folder / "store/incoming").iterdir()) > 1 << 20:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        vault.kill()
        upload.cancel()
        await asyncio.wait([upload])
    assert len(list((folder / "store/incoming").iterdir())) == 1
    assert not [p for p in (folder / "store/objects").rglob("*") if p.is_file()]
    await vault.start()
    assert list((folder / "store/incoming").iterdir()) == []
    async with http_client(base_url=vault.url, headers=ALICE, timeout=30) as client:
        assert (await client.put(path, content=content)).status_code == 201


async def test_a_repository_on_a_disk_is_refused_at_start(
    environment: dict[str, str], folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    environment["VAULT_REPOSITORY_DIR"] = str(tmp_path_factory.mktemp("disk"))
    process = Process(environment, folder)
    assert process.exit_status() == 1
    assert "repository_not_in_memory" in process.log()


async def test_two_vaults_do_not_share_a_store(
    vault: Process, environment: dict[str, str], unused_tcp_port_factory: Callable[[], int], folder: Path
) -> None:
    ports = {
        "VAULT_HTTP_PORT": str(unused_tcp_port_factory()),
        "VAULT_ADMIN_PORT": str(unused_tcp_port_factory()),
    }
    second = Process({**environment, **ports}, folder)
    assert second.exit_status() == 1
    assert "folder_in_use" in second.log()


def test_a_configuration_without_a_key_is_refused_without_showing_one(folder: Path) -> None:
    environment = {**os.environ, "VAULT_MASTER_KEY": "secret-but-not-hex"}
    checked = subprocess.run(
        [sys.executable, "-m", "licet_vault", "--check-config"],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert checked.returncode == 78
    assert b"VAULT_MASTER_KEY" in checked.stderr
    assert b"secret-but" not in checked.stderr
