"""The vault as a process of its own, and what stands around it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
from licet_kit.ids import new_id
from licet_kit.producer import Producer
from licet_kit.testing.http import http_client
from licet_schemas.licet.chain.v1 import chain_pb2
from licet_schemas.licet.vault.v1.vault_pb2 import VersionStateChanged
from licet_schemas.manifest import digest_bytes
from pydantic import SecretStr

from licet_vault.settings import VaultSettings

ALICE = {"authorization": "Bearer licet_live_alice"}
OWNER = "0x" + "A" * 40
DEADLINE_S = 60.0
COLUMNS = {"FEATURES": 30, "INPUT0": 256}
MASTER_KEY = "0x" + "07" * 32
SCANNED_FILE_BYTES = 64 << 20

Eventually = Callable[..., Awaitable[Any]]


class Process:
    """`python -m licet_vault` with an environment of its own; may be killed and started again."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.url = f"http://127.0.0.1:{environment['VAULT_HTTP_PORT']}"
        self._admin = f"http://127.0.0.1:{environment['VAULT_ADMIN_PORT']}"
        self._environment = environment
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> subprocess.Popen[bytes]:
        with (self._folder / "vault.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "licet_vault"],
                env={**os.environ, **self._environment},
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    async def start(self) -> None:
        """Starts it and waits until it says that it is ready."""
        self._process = self.spawn()
        async with http_client() as client:
            deadline = time.monotonic() + DEADLINE_S
            while True:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(self.log())
                try:
                    if (await client.get(f"{self._admin}/readyz")).status_code == 200:
                        return
                except httpx2.TransportError:
                    pass
                await asyncio.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def exit_status(self) -> int:
        """Runs it until it ends by itself."""
        process = self.spawn()
        try:
            return process.wait(DEADLINE_S)
        finally:
            process.kill()
            process.wait()

    def limits(self) -> str:
        """The kernel's limits on the process."""
        if self._process is None:
            raise AssertionError("the vault does not run")
        return Path(f"/proc/{self._process.pid}/limits").read_text()

    def log(self) -> str:
        return (self._folder / "vault.log").read_text()[-3000:]


def settings_for(environment: dict[str, str]) -> VaultSettings:
    """The settings of a test's own producer and reader; what they do not use has a value that names nothing."""
    return VaultSettings(
        database_url=environment["DATABASE_URL"],
        kafka_bootstrap=environment["KAFKA_BOOTSTRAP"],
        kafka_topic_prefix=environment["KAFKA_TOPIC_PREFIX"],
        triton_urls=("http://unused",),
        master_key=SecretStr(MASTER_KEY),
        store_dir=Path("unused"),
        repository_dir=Path("unused"),
        licensing_url="http://unused",
        licensing_worker_token=SecretStr("unused"),
    )


class Chain:
    """Events as the indexer sends them, about one asset."""

    def __init__(self, producer: Producer) -> None:
        self.slug = f"p{new_id()[-10:]}/risk"
        self.asset_id = "0x" + new_id() * 2
        self._producer = producer
        self._block = 0

    async def activate(self, digest: str) -> None:
        registered = chain_pb2.AssetRegistered(
            asset_id=self.asset_id, owner=OWNER, asset_kind=1, slug=self.slug
        )
        published = chain_pb2.VersionPublished(
            asset_id=self.asset_id, version_digest=digest, uri="", ordinal=1
        )
        activated = chain_pb2.VersionActivated(asset_id=self.asset_id, version_digest=digest)
        await self.send(asset_registered=registered)
        await self.send(version_published=published)
        await self.send(version_activated=activated)

    async def send(self, **payload: Any) -> None:
        self._block += 1
        event = chain_pb2.ChainEvent(
            event_id=f"31337:0x{self._block}:0:observed:1:{self.asset_id}",
            chain_id=31337,
            block_number=self._block,
            block_hash=f"0x{self._block}{self.asset_id}",
            kind=chain_pb2.EVENT_KIND_OBSERVED,
            incarnation=1,
            **payload,
        )
        await self._producer.send(event, key=self.asset_id, event_id=event.event_id)


async def publish(url: str, files: dict[str, bytes]) -> str:
    async with http_client(base_url=url, headers=ALICE, timeout=20) as client:
        for name, body in files.items():
            if name != "manifest.json":
                (await client.put(f"/v1/artifacts/{digest_bytes(body)}", content=body)).raise_for_status()
        answer = (await client.post("/v1/manifests", content=files["manifest.json"])).raise_for_status()
    return str(answer.json()["digest"])


def infer(url: str, model: str, name: str = "FEATURES") -> int:
    """Status of one call with a row of zeros, which both example models take."""
    columns = COLUMNS[name]
    given = {"name": name, "datatype": "FP32", "shape": [1, columns], "data": [0.0] * columns}
    answer = httpx2.post(
        f"{url}/v2/models/{model}/infer", content=json.dumps({"inputs": [given]}), timeout=20
    )
    return answer.status_code


def on_disk(marker: bytes, folders: list[Path], since: float) -> list[Path]:
    """Files outside of memory, changed since then, in which the marker is."""
    found = []
    for entry in _files(folders):
        try:
            seen = entry.stat()
            if seen.st_mtime >= since and seen.st_size <= SCANNED_FILE_BYTES:
                path = Path(entry.path)
                found += [path] if marker in path.read_bytes() else []
        except OSError:
            continue  # somebody else's file, or gone meanwhile
    return found


def _files(folders: list[Path]) -> Iterator[os.DirEntry[str]]:
    left = [str(folder) for folder in folders]
    while left:
        try:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        yield entry
        except OSError:
            continue


def is_ready(told: list[VersionStateChanged], asset_id: str) -> bool:
    return any(m.asset_id == asset_id and m.state == "ready" for m in told)


def staged(repository: Path) -> list[Path]:
    return list(repository.glob(".staging-*"))
