"""A real gateway process, its workers, and what it tells Kafka."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from licet_kit.outbox import Outgoing
from licet_kit.producer import Producer
from licet_kit.testing.ports import free_ports
from licet_kit.testing.waiting import eventually
from licet_schemas.licet.licensing.v1.licensing_pb2 import GrantRevoked
from licet_schemas.licet.usage.v1.usage_pb2 import UsageRecorded
from licet_schemas.licet.vault.v1.vault_pb2 import VersionStateChanged

from licet_gateway.settings import GatewaySettings
from licet_gateway.testing.keys import REPLICA_KEY, certificates
from licet_gateway.testing.licensing import TOKEN
from licet_gateway.testing.loaded import LoadedModel
from licet_gateway.testing.wire import Response, call

TOPICS = ("licensing.revocation", "vault.version", "usage.recorded")
STOP_TIMEOUT_S = 30.0


@dataclass
class GatewayProcess:
    """`python -m licet_gateway` with the environment that a deployment gives it."""

    environment: dict[str, str]
    log: Path
    process: asyncio.subprocess.Process | None = None

    @property
    def port(self) -> int:
        return int(self.environment["GATEWAY_HTTP_PORT"])

    @property
    def grpc_port(self) -> int:
        return int(self.environment["GATEWAY_GRPC_PORT"])

    @property
    def admin_port(self) -> int:
        return int(self.environment["GATEWAY_ADMIN_PORT"])

    @property
    def log_dir(self) -> Path:
        return Path(self.environment["GATEWAY_LOG_DIR"])

    @property
    def pid(self) -> int:
        if self.process is None:
            raise RuntimeError("the gateway does not run")
        return self.process.pid

    async def start(self, *, ready: bool = True) -> None:
        with self.log.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "licet_gateway",
                env={**os.environ, **self.environment},
                stdout=output,
                stderr=output,
            )
        if ready:
            await eventually(self.ready, 40.0, what="the gateway's readiness")

    async def ready(self) -> bool:
        return (await call(self.admin_port, "GET", "/readyz")).status == 200

    async def metrics(self) -> str:
        return (await call(self.admin_port, "GET", "/metrics")).body.decode()

    def workers(self) -> list[int]:
        """Pids of the living worker processes."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(child) for child in children if b"licet_gateway.worker" in _command_line(int(child))]

    def kill(self) -> None:
        """SIGKILL to the supervisor; its workers die with it."""
        os.kill(self.pid, signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM, and the exit status."""
        if self.process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                return await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
            raise

    async def infer(
        self, model: LoadedModel, body: bytes, headers: Mapping[str, str] | None = None
    ) -> Response:
        """One call to a model by its public name."""
        return await call(self.port, "POST", f"/v2/models/{model.public_name}/infer", body, headers)


def environment(
    *,
    kafka: str,
    prefix: str,
    tritons: Iterable[str],
    triton_grpc: Iterable[str],
    licensing_port: int,
    folder: Path,
    **more: str,
) -> dict[str, str]:
    """What a gateway needs to run on free ports; `more` overrides."""
    http_port, grpc_port, admin_port = free_ports(3)
    return {
        "KAFKA_BOOTSTRAP": kafka,
        "KAFKA_TOPIC_PREFIX": prefix,
        "TRITON_URLS": ",".join(tritons),
        "LICENSING_WORKER_TOKEN": TOKEN,
        "GATEWAY_LICENSING_GRPC": f"127.0.0.1:{licensing_port}",
        "GATEWAY_HTTP_PORT": str(http_port),
        "GATEWAY_GRPC_PORT": str(grpc_port),
        "GATEWAY_ADMIN_PORT": str(admin_port),
        "GATEWAY_TRITON_GRPC": ",".join(triton_grpc),
        "GATEWAY_LOG_DIR": str(folder / "log"),
        "GATEWAY_WORKER_ID": "test",
        "GATEWAY_REPLICA_KEY": "0x" + REPLICA_KEY.hex(),
        "GATEWAY_REPLICA_CERTIFICATES": certificates(),
        "LICET_LOG_FORMAT": "console",
        **more,
    }


@asynccontextmanager
async def running(settings: dict[str, str], log: Path) -> AsyncIterator[GatewayProcess]:
    """A gateway that is ready; stopped afterwards, and its log shown if it failed."""
    gateway = GatewayProcess(settings, log)
    try:
        await gateway.start()
        yield gateway
    except BaseException:
        sys.stderr.write(_tail(log))
        raise
    finally:
        await gateway.stop()


@dataclass
class UsageTopic:
    """Everything on `usage.recorded`, as it comes."""

    records: list[UsageRecorded] = field(default_factory=list)


def is_marker(record: UsageRecorded) -> bool:
    """Whether the record only says that its lease has ended."""
    return record.last and not record.bytes_in and not record.bytes_out and not record.units


@asynccontextmanager
async def usage_topic(kafka: str, prefix: str) -> AsyncIterator[UsageTopic]:
    """Follows the topic from its beginning."""
    topic = UsageTopic()
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest")
    await consumer.start()
    name = f"{prefix}usage.recorded"
    consumer.assign([TopicPartition(name, number) for number in range(3)])

    async def follow() -> None:
        async for record in consumer:
            topic.records.append(UsageRecorded.FromString(record.value))

    following = asyncio.create_task(follow())
    try:
        yield topic
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        await consumer.stop()


@dataclass
class Announcer:
    """The vault's and licensing's voice."""

    producer: Producer
    _ordinal: int = 0

    async def version(
        self,
        model: LoadedModel,
        *,
        rule: str = "request",
        state: str = "ready",
        triton: str = "",
        schema: Mapping[str, Any] | None = None,
    ) -> None:
        """Says that a version became ready, or left; `schema` is what its manifest tells callers."""
        self._ordinal += 1
        message = VersionStateChanged(
            event_id=f"{model.pinned}:{self._ordinal}",
            asset_id="0x" + "ab" * 32,
            slug=model.slug,
            version_digest=model.version_digest,
            triton_model=model.pinned,
            state=state,
            triton_url=triton or model.triton,
            metering_rule=rule,
            version=self._ordinal,
            schema_json=json.dumps(schema or {"limits": dict(model.limits)}),
        )
        await self._send(message, message.asset_id, message.event_id)

    async def revocation(self, grant_id: str, minimum_generation: int, code: str = "license_revoked") -> None:
        """Says that older generations of a grant are dead."""
        self._ordinal += 1
        message = GrantRevoked(
            event_id=f"{grant_id}:{self._ordinal}",
            grant_id=grant_id,
            minimum_generation=minimum_generation,
            code=code,
        )
        await self._send(message, grant_id, message.event_id)

    async def _send(self, message: VersionStateChanged | GrantRevoked, key: str, event_id: str) -> None:
        await self.producer.send_many([Outgoing(message=message, key=key, event_id=event_id)])


@asynccontextmanager
async def announcer(settings: Mapping[str, str]) -> AsyncIterator[Announcer]:
    """Publishes under the prefix of a gateway's settings."""
    kafka = GatewaySettings.model_construct(
        kafka_bootstrap=settings["KAFKA_BOOTSTRAP"], kafka_topic_prefix=settings["KAFKA_TOPIC_PREFIX"]
    )
    async with Producer(kafka, source="test") as producer:
        yield Announcer(producer)


def _tail(log: Path) -> str:
    return log.read_text()[-20_000:] if log.exists() else "the gateway wrote no log\n"


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""
