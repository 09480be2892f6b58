"""A span for each request, continuing the caller's trace."""

from __future__ import annotations

from typing import Any

from licet_kit.telemetry import extract, tracer
from opentelemetry.trace import SpanKind, Status, StatusCode

_TRACER = tracer("licet_billing.api")


class Tracing:
    """ASGI middleware."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serves a request within its span; the route, not the path, names it, because paths hold ids."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        with _TRACER.start_as_current_span(
            scope["method"], context=extract(headers), kind=SpanKind.SERVER
        ) as span:

            async def observe(message: Any) -> None:
                if message["type"] == "http.response.start":
                    route = getattr(scope.get("route"), "path", "")
                    span.update_name(f"{scope['method']} {route}".strip())
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.set_status(Status(StatusCode.ERROR))
                await send(message)

            await self._app(scope, receive, observe)
