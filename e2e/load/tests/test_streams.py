"""The client of streams, against answers that are sent byte by byte as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from e2e.load.streams import Seen, load, request

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"data: 1\n\n"
CHUNK = b"9\r\n" + EVENT + b"\r\n"
LAST = b"0\r\n\r\n"
SENT = request("http://127.0.0.1/m", b"{}", {"authorization": "Bearer key"})


@asynccontextmanager
async def server(*pieces: bytes, pause_s: float = 0.0) -> AsyncIterator[str]:
    """Answers each request with the pieces, with a pause between each two."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readexactly(len(SENT)) == SENT:
                for number, piece in enumerate(pieces):
                    await asyncio.sleep(pause_s if number else 0)
                    writer.write(piece)
                    await writer.drain()
        except (EOFError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/m"


async def seen_of(*pieces: bytes, pause_s: float = 0.0) -> Seen:
    async with server(*pieces, pause_s=pause_s) as url:
        return await load(url, SENT, 2, 0.2)


async def test_the_first_event_is_timed_and_not_the_head_or_the_end() -> None:
    seen = await seen_of(HEAD, CHUNK, CHUNK + LAST, pause_s=0.3)

    assert (seen.refused, seen.broken) == (0, 0)
    # Each connection reads its stream to the end, which is twice the pause away.
    assert len(seen.first_us) == 2
    assert min(seen.first_us) >= 300_000
    assert min(seen.first_us) < 600_000


async def test_a_refusal_is_told_as_one() -> None:
    seen = await seen_of(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    assert (seen.first_us, seen.refused) == ([], 2)


@pytest.mark.parametrize(
    "pieces", [(HEAD + LAST,), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + EVENT,)]
)
async def test_what_is_no_stream_of_events_is_broken(pieces: tuple[bytes, ...]) -> None:
    seen = await seen_of(*pieces)

    assert (seen.first_us, seen.broken) == ([], 2)


def test_the_call_is_one_request_with_its_headers() -> None:
    assert SENT == (
        b"POST /m HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\nauthorization: Bearer key\r\n\r\n{}"
    )
