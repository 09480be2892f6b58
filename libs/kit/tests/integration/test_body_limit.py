"""A body that is too long is refused before anybody parses it, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI
from licet_kit.http import serve_http
from licet_kit.problems import MEDIA_TYPE
from pydantic import BaseModel

LIMIT = 1000


class Said(BaseModel):
    word: str


@pytest.fixture
async def parsed() -> list[str]:
    return []


@pytest.fixture
async def client(parsed: list[str], unused_tcp_port: int) -> AsyncIterator[httpx2.AsyncClient]:
    app = FastAPI()

    @app.post("/words")
    async def say(said: Said) -> Said:
        parsed.append(said.word)
        return said

    stop = asyncio.Event()
    serving = asyncio.create_task(serve_http(app, "127.0.0.1", unused_tcp_port, body_limit=LIMIT)(stop))
    transport = httpx2.AsyncHTTPTransport(retries=10)
    async with httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{unused_tcp_port}", transport=transport
    ) as made:
        yield made
    stop.set()
    await serving


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), 100):
        yield body[at : at + 100]


@pytest.mark.parametrize("chunked", [False, True])
async def test_the_limit_is_the_longest_body_that_arrives(
    client: httpx2.AsyncClient, parsed: list[str], *, chunked: bool
) -> None:
    for word, status in (("w" * (LIMIT - 11), 200), ("w" * (LIMIT - 10), 413)):
        body = b'{"word":"%s"}' % word.encode()
        headers = {"content-type": "application/json"}
        answer = await client.post("/words", content=chunks(body) if chunked else body, headers=headers)
        assert answer.status_code == status, len(body)
    assert len(parsed) == 1
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.json()["code"] == "request_too_large"
