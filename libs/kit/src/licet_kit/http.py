"""Serving an ASGI app inside the process's own event loop, with granian."""

import asyncio
import contextlib
import socket
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from licet_kit.body_limit import BODY_LIMIT, BodyLimit
from licet_kit.errors import PermanentError
from licet_kit.lifecycle import Service

# Connections in progress get this long to end when the process stops.
DRAIN_S = 5


class AddressInUse(PermanentError):
    """Another process listens on the address."""

    code = "address_in_use"


class ServerEnded(PermanentError):
    """The server's worker is gone, although nobody asked it to stop."""

    code = "server_ended"


def serve_http(app: Any, host: str, port: int, *, body_limit: int | None = BODY_LIMIT) -> Service:
    """Return an ASGI app as a part of the process: it accepts HTTP/1.1 and HTTP/2 until the process stops.

    Bodies longer than `body_limit` bytes are refused unread; None is for an app that bounds its own. Raises
    AddressInUse.
    """
    served = app if body_limit is None else BodyLimit(app, body_limit)

    async def serve(stop: asyncio.Event) -> None:
        refuse_taken(host, port)
        server = Server(
            served,
            address=host,
            port=port,
            interface=Interfaces.ASGINL,
            http=HTTPModes.auto,
            websockets=False,
            log_enabled=False,
        )
        server.workers_kill_timeout = DRAIN_S
        running = asyncio.create_task(server.serve())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            server.stop()  # type: ignore[no-untyped-call]
            await running
        if not stop.is_set():
            raise ServerEnded(f"the server on {host}:{port} ended by itself")

    return serve


def refuse_taken(host: str, port: int) -> None:
    """Raise AddressInUse when somebody listens there already.

    The server shares its port by SO_REUSEPORT, so two processes would each get some of the requests.
    """
    with contextlib.closing(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise AddressInUse(f"cannot listen on {host}:{port}: {error.strerror}") from error
