"""A Redis database for one test: the server has few, so tests of all processes borrow them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio import Redis

from licet_kit.ids import new_id

# Database 0 holds the loans.
FIRST, LAST = 1, 15
LOAN_S = 600
DEADLINE_S = 60.0


@asynccontextmanager
async def borrowed_database(server_url: str) -> AsyncIterator[str]:
    """Yield the URL of an empty database that no other test uses."""
    parts = urlsplit(server_url)
    loans = Redis.from_url(urlunsplit(parts._replace(path="/0")))
    token = new_id()
    try:
        async with asyncio.timeout(DEADLINE_S):
            number = await _borrow(loans, token)
        url = urlunsplit(parts._replace(path=f"/{number}"))
        database = Redis.from_url(url)
        try:
            await database.flushdb()
            yield url
            await database.flushdb()
        finally:
            await database.aclose()
            await loans.delete(f"loan:{number}")
    finally:
        await loans.aclose()


async def _borrow(loans: "Redis", token: str) -> int:
    while True:
        for number in range(FIRST, LAST + 1):
            if await loans.set(f"loan:{number}", token, nx=True, ex=LOAN_S):
                return number
        await asyncio.sleep(0.1)
