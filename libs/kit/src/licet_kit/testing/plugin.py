"""The fixtures that every test of the repository may use. All of them are safe with other test runs beside them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
import structlog
from sqlalchemy import MetaData

from licet_kit.clock import ManualClock
from licet_kit.ids import new_id
from licet_kit.logs import console_renderer
from licet_kit.testing.anvil import Anvil
from licet_kit.testing.databases import Databases
from licet_kit.testing.deployment import DeployedChain, deployed_chain
from licet_kit.testing.own_kafka import OwnKafka
from licet_kit.testing.proxy import Proxy
from licet_kit.testing.redis_space import borrowed_database
from licet_kit.testing.servers import repository_root, running_servers
from licet_kit.testing.topics import Topics
from licet_kit.testing.waiting import eventually as _eventually


def pytest_configure() -> None:
    """Logs of what runs inside a test process, shown where a test fails."""
    processors = [*structlog.get_config()["processors"][:-1], console_renderer(colors=False)]
    structlog.configure(processors=processors)


class CreateTopics(Protocol):
    """Creates topics under the test's prefix."""

    async def __call__(
        self, *topics: str, partitions: int = 3, configs: dict[str, str] | None = None
    ) -> None:
        """Create topics, named without the prefix."""


class StartAnvil(Protocol):
    """Starts a chain that ends with the test."""

    async def __call__(self, *flags: str, block_time_s: float | None = None) -> Anvil:
        """Start anvil; without a block time each transaction makes a block."""


class StartChain(Protocol):
    """Starts a chain with the contracts on it that ends with the test."""

    async def __call__(self, *flags: str, block_time_s: float | None = None) -> DeployedChain:
        """Start it from the cached deployment."""


class StartProxy(Protocol):
    """Starts a proxy that ends with the test."""

    async def __call__(self, host: str, port: int) -> Proxy:
        """Pass connections on to this address."""


CreateDatabase = Callable[..., Awaitable[str]]
Eventually = Callable[..., Awaitable[Any]]


@pytest.fixture(scope="session")
def repository(request: pytest.FixtureRequest) -> Path:
    """Return the root of the repository."""
    return repository_root(request.config.rootpath)


@pytest.fixture(scope="session")
def servers(repository: Path) -> dict[str, Any]:
    """Return the addresses of the shared test servers, which run after this."""
    return running_servers(repository)


@pytest.fixture
async def database(servers: dict[str, Any]) -> AsyncIterator[CreateDatabase]:
    """Create databases: `url = await database(MIGRATIONS)`, or with metadata, or empty."""
    databases = Databases(servers["postgres"]["url"])

    async def create(source: Path | MetaData | None = None) -> str:
        return await databases.create(source)

    yield create
    await databases.drop_all()


@pytest.fixture
def topic_prefix() -> str:
    """Return a prefix for topics and groups that no other test has."""
    return f"t{new_id()[-12:]}."


@pytest.fixture
async def create_topics(servers: dict[str, Any], topic_prefix: str) -> AsyncIterator[CreateTopics]:
    """Create topics: `await create_topics("chain.event", "licensing.grant")`."""
    topics = Topics(servers["kafka"]["bootstrap"], topic_prefix)
    yield topics.create
    await topics.delete_all()


@pytest.fixture
async def redis_url(servers: dict[str, Any]) -> AsyncIterator[str]:
    """Return the URL of an empty Redis database that no other test uses."""
    async with borrowed_database(servers["redis"]["url"]) as url:
        yield url


@pytest.fixture
async def anvil(servers: dict[str, Any]) -> AsyncIterator[StartAnvil]:
    """Start chains: `node = await anvil()`, `await anvil(block_time_s=1)`."""
    started: list[Anvil] = []

    async def start(*flags: str, block_time_s: float | None = None) -> Anvil:
        node = Anvil(Path(servers["bin"]["anvil"]), block_time_s=block_time_s, flags=flags)
        started.append(node)
        await node.start()
        return node

    yield start
    for node in started:
        await node.stop()


@pytest.fixture
async def chain(servers: dict[str, Any], repository: Path, tmp_path: Path) -> AsyncIterator[StartChain]:
    """Start chains with the contracts deployed: `deployed = await chain()`."""
    async with AsyncExitStack() as stack:

        async def start(*flags: str, block_time_s: float | None = None) -> DeployedChain:
            binary = Path(servers["bin"]["anvil"])
            run: AbstractAsyncContextManager[DeployedChain] = deployed_chain(
                repository, binary, tmp_path, block_time_s=block_time_s, flags=flags
            )
            return await stack.enter_async_context(run)

        yield start


@pytest.fixture
async def proxy() -> AsyncIterator[StartProxy]:
    """Start proxies: `door = await proxy(host, port)`, then `door.port`, `cut`, `restore`, `pause`, `resume`."""
    started: list[Proxy] = []

    async def start(host: str, port: int) -> Proxy:
        made = Proxy(host, port)
        started.append(made)
        await made.restore()
        return made

    yield start
    for made in started:
        await made.cut()


@pytest.fixture
async def own_kafka(repository: Path, tmp_path: Path) -> AsyncIterator[OwnKafka]:
    """Start a Kafka broker that the test may kill; it costs seconds."""
    broker = OwnKafka(repository, tmp_path / "own")
    try:
        await broker.start()
        yield broker
    finally:
        await broker.stop()


@pytest.fixture
def eventually() -> Eventually:
    """Wait for a condition: `await eventually(lambda: reader.caught_up, deadline_s=5)`."""
    return _eventually


@pytest.fixture
def manual_clock() -> ManualClock:
    """Return a clock that only the test moves."""
    return ManualClock()
