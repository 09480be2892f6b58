import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from licet_kit.db import open_engine
from licet_kit.testing.ports import free_ports
from licet_schemas import manifest as manifests
from licet_schemas.manifest import Manifest, parse
from licet_vault.db import MIGRATIONS
from licet_vault.store import MasterKey, ObjectStore
from licet_vault.testing.harness import LIMIT_BYTES, Vault
from sqlalchemy.ext.asyncio import AsyncEngine

from examples.models.bench_identity import build
from examples.models.building import CACHE
from examples.models.tumour_risk import train
from infra.local.part import Part
from infra.local.triton import memory_folder as new_memory_folder
from infra.local.triton import remove_memory, triton

START_TIMEOUT_S = 40.0
STOP_TIMEOUT_S = 15.0
WORKER_TOKEN = "worker-token"
ACCOUNTS: dict[str, dict[str, Any]] = {
    "licet_live_alice": {"account_id": "alice", "wallets": ["0x" + "A" * 40]},
    "licet_session_bob": {"account_id": "bob", "wallets": ["0x" + "b" * 40]},
}
LOOPBACK = "127.0.0.1"


@pytest.fixture(scope="session")
def tumour_files() -> dict[str, bytes]:
    """The trained example, from the cache of trained models."""
    return {path.name: path.read_bytes() for path in train.trained(CACHE).iterdir()}


@pytest.fixture(scope="session")
def tumour_manifest(tumour_files: dict[str, bytes]) -> Manifest:
    return parse(tumour_files["manifest.json"])


@pytest.fixture
def memory_folder() -> Iterator[Path]:
    """An empty folder on a memory-backed file system."""
    folder = new_memory_folder("vault-test")
    yield folder
    remove_memory(folder)


class TritonServer:
    """A Triton of one's own, which may be killed and started again on the same ports and repository."""

    def __init__(self, part: Part, repository: Path, log: Path) -> None:
        self._part = part
        self.repository = repository
        self.log = log
        self.url = f"http://{LOOPBACK}:{part.ports['http']}"
        self.grpc = f"{LOOPBACK}:{part.ports['grpc']}"

    def start(self) -> None:
        """Starts the server and waits until it is ready; it must still be our child then."""
        self._part.prepare()
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._part.argv,
                env={**os.environ, **self._part.env},
                cwd=self._part.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._part.probe():
            assert self._process.poll() is None, self.log.read_text()[-2000:]
            assert time.monotonic() < deadline, self.log.read_text()[-2000:]
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL to the server and the back end's stubs, as a lost node would."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """Ends the server so that it takes its shared memory with it."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()


@pytest.fixture(scope="module")
def triton_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    memory = new_memory_folder("vault-test")
    http, grpc, metrics = free_ports(3)
    server = TritonServer(
        triton(memory, {"http": http, "grpc": grpc, "metrics": metrics}),
        memory / "models",
        tmp_path_factory.mktemp("triton") / "triton.log",
    )
    server.start()
    yield server
    server.stop()
    remove_memory(memory)


@pytest.fixture
def triton_url(triton_server: TritonServer) -> str:
    return triton_server.url


@pytest.fixture
def triton_grpc(triton_server: TritonServer) -> str:
    """Host and port of the running Triton's gRPC."""
    return triton_server.grpc


@pytest.fixture
def triton_repository(triton_server: TritonServer) -> Path:
    """The repository of the running Triton, in memory."""
    return triton_server.repository


@pytest.fixture
def triton_log(triton_server: TritonServer) -> Path:
    return triton_server.log


@pytest.fixture
def kill_triton(triton_server: TritonServer) -> Callable[[], None]:
    return triton_server.kill


@pytest.fixture
def start_triton(triton_server: TritonServer) -> Callable[[], None]:
    return triton_server.start


@pytest.fixture
async def engine(database: Callable[..., Awaitable[str]]) -> AsyncIterator[AsyncEngine]:
    async with open_engine(await database(MIGRATIONS)) as opened:
        yield opened


@pytest.fixture
async def licensing_url(unused_tcp_port: int) -> AsyncIterator[str]:
    """Introspection as licensing's interface note states it."""

    async def introspect(request: web.Request) -> web.Response:
        if request.headers.get("authorization") != f"Bearer {WORKER_TOKEN}":
            return web.json_response({"code": "credential_invalid"}, status=401)
        body = await request.json()
        account = ACCOUNTS.get(body.get("session") or body.get("api_key"))
        fits = account is not None and ("session" in body) == str(body.get("session", "")).startswith(
            "licet_session_"
        )
        return web.json_response(
            account if fits else {"code": "credential_invalid"}, status=200 if fits else 401
        )

    app = web.Application()
    app.router.add_post("/v1/introspect", introspect)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    yield f"http://127.0.0.1:{unused_tcp_port}"
    await runner.cleanup()


@pytest.fixture
async def vault(
    engine: AsyncEngine, tmp_path: Path, triton_repository: Path, triton_url: str
) -> AsyncIterator[Vault]:
    store = ObjectStore(tmp_path / "store", MasterKey(bytes(32)), limit_bytes=LIMIT_BYTES)
    store.prepare()
    made = Vault(engine, store, triton_repository, triton_url)
    yield made
    await made.close()


@pytest.fixture
def identity_files() -> dict[str, bytes]:
    """A version that Triton loads faster than the example, where only its life counts."""
    return {"manifest.json": manifests.canonical(build.MANIFEST)}
