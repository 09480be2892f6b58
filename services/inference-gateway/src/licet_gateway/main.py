"""The gateway process: a supervisor that runs the workers, ships their logs and answers the admin port."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from licet_kit.cli import Runtime
from licet_kit.cli import main as run_service
from licet_kit.errors import Unavailable
from licet_kit.http import refuse_taken
from licet_kit.lifecycle import Service
from licet_kit.producer import Producer
from licet_kit.settings import SettingsInvalid

from licet_gateway.events import Sealer
from licet_gateway.metrics import GatewayCollector
from licet_gateway.settings import GatewaySettings
from licet_gateway.shipping.folders import hold
from licet_gateway.shipping.shipper import Shipper
from licet_gateway.supervisor import WorkerSlot

# After the workers are gone, what they logged last gets this long to reach Kafka; the next start ships the rest.
LAST_SHIPPING_S = 3.0


@asynccontextmanager
async def build(settings: GatewaySettings, runtime: Runtime) -> AsyncIterator[Sequence[Service]]:
    """Opens what the supervisor needs, and gives its one part: workers first, then the rest of their logs."""
    refuse_taken(settings.host, settings.http_port)
    refuse_taken(settings.host, settings.grpc_port)
    check_certificates(settings, time.time())
    sealer = Sealer(settings.private_key(), settings.certificates())
    with hold(settings.log_dir):
        async with Producer(settings, source=settings.service_name) as producer:
            shipper = Shipper(settings.log_dir, sealer, producer)
            slots = [
                WorkerSlot(number, settings.worker_id, settings.log_dir, settings.drain_s)
                for number in range(settings.workers)
            ]
            runtime.health.add("workers", lambda: _all_ready(slots))
            runtime.health.add("certificates", lambda: _certified(settings))
            runtime.telemetry.registry.register(GatewayCollector(slots, shipper))
            yield [lambda stop: _serve(slots, shipper, stop)]


def check_certificates(settings: GatewaySettings, now_s: float) -> None:
    """Raises SettingsInvalid for a certificate that does not hold now: nobody could bill what it signs."""
    for certificate in settings.certificates():
        if not certificate.valid_from <= now_s < certificate.valid_until:
            raise SettingsInvalid(
                f"GATEWAY_REPLICA_CERTIFICATES: the certificate for chain {certificate.chain_id} holds from "
                f"{certificate.valid_from} until {certificate.valid_until}; certify the replica's key anew"
            )


async def _certified(settings: GatewaySettings) -> None:
    check_certificates(settings, time.time())


async def _serve(slots: Sequence[WorkerSlot], shipper: Shipper, stop: asyncio.Event) -> None:
    finish = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        shipping = group.create_task(shipper.run(finish))
        await asyncio.gather(*(slot.run(stop) for slot in slots))
        finish.set()
        await asyncio.wait({shipping}, timeout=LAST_SHIPPING_S)
        shipping.cancel()


async def _all_ready(slots: Sequence[WorkerSlot]) -> None:
    waiting = [slot.worker_id for slot in slots if not slot.ready]
    if waiting:
        raise Unavailable(f"not ready: {', '.join(waiting)}")


def main() -> int:
    """The command line: run, or `--check-config`."""
    return run_service(GatewaySettings, build)


if __name__ == "__main__":
    sys.exit(main())
