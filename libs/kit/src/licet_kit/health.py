"""Liveness, readiness and metrics of a process, on a port of their own."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Check = Callable[[], Awaitable[None]]

# A check that takes longer has failed; orchestrators ask every few seconds.
CHECK_TIMEOUT_S = 3.0


@dataclass(slots=True)
class Health:
    """Named checks; each raises when what it names is not usable. Ready means that all pass."""

    checks: dict[str, Check] = field(default_factory=dict)

    def add(self, name: str, check: Check) -> None:
        """Add a check; names are unique."""
        if name in self.checks:
            raise ValueError(f"there is a check {name} already")
        self.checks[name] = check

    async def report(self) -> dict[str, str]:
        """Run all checks at once and return `ok`, or what is wrong, by name."""
        results = await asyncio.gather(*(_run(check) for check in self.checks.values()))
        return dict(zip(self.checks, results, strict=True))


async def _run(check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check()
    except TimeoutError:
        return f"no answer within {CHECK_TIMEOUT_S:g} s"
    except Exception as error:  # noqa: BLE001  edge: any failure means not ready
        return f"{type(error).__name__}: {error}"
    return "ok"


def admin_app(health: Health, registry: CollectorRegistry) -> Starlette:
    """Return the app of the admin port: /livez, /readyz (503 until every check passes), /metrics."""

    async def livez(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_request: Request) -> Response:
        report = await health.report()
        ready = all(state == "ok" for state in report.values())
        return JSONResponse(
            {"status": "ok" if ready else "not ready", "checks": report}, 200 if ready else 503
        )

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)])
