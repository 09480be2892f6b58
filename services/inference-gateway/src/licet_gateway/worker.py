"""One data-plane process: its own log, its own leases, its share of the port's connections.

Started by the supervisor as `python -m licet_gateway.worker <worker id>`; dies with it.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import uvloop
from licet_kit.lifecycle import wait_or_stop
from licet_kit.logs import configure_logging, get_logger
from licet_kit.settings import SettingsInvalid, load_settings
from licet_kit.telemetry import start_telemetry

from licet_gateway.clients import LicensingSession
from licet_gateway.consumers import Followers
from licet_gateway.dataplane.client import ClientConnection
from licet_gateway.dataplane.grpc_front import GrpcConnection
from licet_gateway.dataplane.plane import SWEEP_S, DataPlane
from licet_gateway.dataplane.tls import TlsConnection
from licet_gateway.settings import GatewaySettings
from licet_gateway.shipping.folders import WorkerFolder
from licet_gateway.telemetry import CallTracer
from licet_gateway.tls import GRPC, HTTP

log = get_logger(__name__)

_PR_SET_PDEATHSIG: Final = 1
EXIT_CONFIG: Final = 78
BACKLOG: Final = 4096
# Files that a worker has open besides its connections: the log, Kafka, licensing, telemetry.
OWN_FILES: Final = 128
# From the signal until the port is left: long enough for balancers, and for clients to read `Connection: close`.
NOTICE_S: Final = 0.5
# Returns are hints; they get this long to leave.
RETURNS_S: Final = 1.0


def main() -> int:
    """Runs until SIGTERM, then drains."""
    worker_id, supervisor = sys.argv[1], int(sys.argv[2])
    _die_with(supervisor)
    # Ctrl-C reaches the whole process group; how to stop is the supervisor's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        settings = load_settings(GatewaySettings)
    except SettingsInvalid as error:
        print(error, file=sys.stderr)  # noqa: T201 - before there are logs
        return EXIT_CONFIG
    configure_logging(level=settings.log_level, style=settings.log_format, service=settings.service_name)
    # A full collection stops every call; it need not walk through the modules each time.
    gc.freeze()
    settings = settings.model_copy(update={"client_connections": _make_room(settings)})
    uvloop.run(_run(settings, worker_id))
    return 0


def _make_room(settings: GatewaySettings) -> int:
    """Lets the process open the files that its connections need; how many clients that is room for."""
    own = len(settings.tritons()) * settings.upstream_connections + OWN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, settings.client_connections + own)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(1, min(settings.client_connections, allowed - own))


def _die_with(supervisor: int) -> None:
    """The kernel kills this process when its parent dies: a worker alone would log what nobody ships."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != supervisor:
        raise SystemExit("the supervisor is gone")


async def _run(settings: GatewaySettings, worker_id: str) -> None:
    telemetry = start_telemetry(settings.service_name, endpoint=settings.otel_endpoint)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with WorkerFolder.create(settings.log_dir, worker_id) as folder:
        await _serve(settings, worker_id, folder.path, stop)
    await asyncio.to_thread(telemetry.stop)


async def _serve(settings: GatewaySettings, worker_id: str, folder: Path, stop: asyncio.Event) -> None:
    token = settings.licensing_worker_token.get_secret_value()
    session = LicensingSession(settings.licensing_grpc, token, worker_id)
    plane = DataPlane(
        folder,
        session,
        settings.tritons(),
        settings.limits,
        chains=[certificate.chain_id for certificate in settings.certificates()],
        tracer=CallTracer(settings.trace_ratio),
        grpc=settings.grpc_targets(),
    )
    session.deliver_to(plane.book)
    followers = Followers(settings, plane)
    servers = await _open_ports(plane, settings)
    log.info("worker.started", worker_id=worker_id, port=settings.http_port)
    finished = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(_sweep(plane, finished))
        group.create_task(session.run(finished))
        group.create_task(followers.run(finished))
        await stop.wait()
        await _drain(plane, servers, settings.drain_s)
        plane.close()
        await session.flush(RETURNS_S)
        finished.set()
    log.info("worker.stopped", worker_id=worker_id)


async def _open_ports(plane: DataPlane, settings: GatewaySettings) -> list[asyncio.Server]:
    loop = asyncio.get_running_loop()
    http, grpc = _clients(plane, settings)
    return [
        await loop.create_server(http, sock=_listen(settings.host, settings.http_port)),
        await loop.create_server(grpc, sock=_listen(settings.host, settings.grpc_port)),
    ]


def _clients(
    plane: DataPlane, settings: GatewaySettings
) -> tuple[Callable[[], asyncio.Protocol], Callable[[], asyncio.Protocol]]:
    """Who serves a connection to the HTTP port, and one to the gRPC port."""
    http, grpc = settings.tls_context(HTTP), settings.tls_context(GRPC)
    if http is None or grpc is None:
        return partial(ClientConnection, plane), partial(GrpcConnection, plane)
    return (
        partial(TlsConnection, plane, http, partial(ClientConnection, plane)),
        # HTTP/2 over TLS is agreed on by ALPN (RFC 9113, section 3.3).
        partial(TlsConnection, plane, grpc, partial(GrpcConnection, plane), protocol=GRPC),
    )


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket of this process alone; the kernel spreads connections over the workers' sockets."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


async def _sweep(plane: DataPlane, finished: asyncio.Event) -> None:
    while not await wait_or_stop(finished, SWEEP_S):
        plane.sweep()


async def _drain(plane: DataPlane, servers: Sequence[asyncio.Server], deadline_s: float) -> None:
    """Says so on every answer for a moment, leaves the port, then waits for the calls in flight."""
    plane.draining = True
    await asyncio.sleep(NOTICE_S)
    for server in servers:
        server.close()
    plane.close_idle_connections()
    try:
        async with asyncio.timeout(deadline_s):
            while plane.busy or plane.connections:
                await asyncio.sleep(SWEEP_S / 4)
                plane.close_idle_connections()
    except TimeoutError:
        log.warning("worker.drain_timed_out", calls=plane.busy, connections=len(plane.connections))


if __name__ == "__main__":
    sys.exit(main())
