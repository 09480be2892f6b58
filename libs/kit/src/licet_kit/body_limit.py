"""Bounds the bodies of requests before any of them is parsed: parsing runs on the loop that everything else shares."""

from collections import deque
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from licet_kit.problems import MEDIA_TYPE

# The largest JSON that a route of ours needs is a few kilobytes.
BODY_LIMIT: Final = 64 * 1024


class BodyLimit:
    """An ASGI app around another that answers 413 where a body is longer than `limit` bytes."""

    def __init__(self, app: ASGIApp, limit: int = BODY_LIMIT) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands on a request whose whole body is here and within the limit."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stated = Headers(scope=scope).get("content-length", "0")
        if not stated.isdigit() or int(stated[:20]) > self._limit:
            await self._refuse(scope, receive, send)
            return
        held: deque[Message] = deque()
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            size += len(message.get("body", b""))
            if size > self._limit:
                await self._refuse(scope, receive, send)
                return
            held.append(message)
            more = message.get("more_body", False)

        async def replay() -> Message:
            return held.popleft() if held else await receive()

        await self._app(scope, replay, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        body = {
            "type": "about:blank",
            "title": status.phrase,
            "status": status.value,
            "detail": f"the body is longer than {self._limit} bytes",
            "code": "request_too_large",
            "remedy": "send less at once",
        }
        headers = {"Connection": "close"}
        await JSONResponse(body, status, headers, media_type=MEDIA_TYPE)(scope, receive, send)
