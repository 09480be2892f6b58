"""Our own small client for streams of events: no load tool tells when the first event of each answer came.

`python -m e2e.load.streams URL BODY CONNECTIONS SECONDS` calls again and again on each connection, with the headers of
STREAM_HEADERS, and prints one JSON line. Its latencies are from the request's last byte to the first event's first.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from e2e.load import tool
from e2e.load.h2load import percentile
from e2e.load.tool import Load, Target

HEADERS = "STREAM_HEADERS"
# A stream that is open at the end of the time is read to its end, so that the records can be compared.
LAST_S = 30.0


def run(target: Target, *, connections: int, seconds: int, rate: float = 0) -> Load:
    """One run in a process of its own, whose CPU is that of a load tool; raises AssertionError as the others do."""
    assert not rate, "this client keeps no rate"
    command = [sys.executable, "-m", "e2e.load.streams", target.url, str(target.body), str(connections)]
    env = {**os.environ, HEADERS: json.dumps(dict(target.headers))}
    told, cpu_s = tool.output([*command, str(seconds)], env)
    return Load(**json.loads(told), cpu_s=cpu_s).flawless(target)


@dataclass(slots=True)
class Seen:
    """What all connections saw together."""

    first_us: list[int] = field(default_factory=list)
    refused: int = 0
    broken: int = 0


def request(url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """The call as it is sent each time."""
    at = urlsplit(url)
    lines = [f"POST {at.path} HTTP/1.1", f"Host: {at.netloc}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def load(url: str, sent: bytes, connections: int, seconds: float) -> Seen:
    """Calls on so many connections for so long."""
    seen, ends = Seen(), time.monotonic() + seconds
    async with asyncio.timeout(seconds + LAST_S):
        await asyncio.gather(*(_connection(url, sent, ends, seen) for _ in range(connections)))
    return seen


async def _connection(url: str, sent: bytes, ends: float, seen: Seen) -> None:
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    try:
        while time.monotonic() < ends:
            writer.write(sent)
            await _answer(reader, time.monotonic(), seen)
    except (OSError, EOFError, ValueError):
        seen.broken += 1
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader, sent_at: float, seen: Seen) -> None:
    """One answer in chunks, to its end; another status, or a body that is not in chunks, ends the connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200 "):
        seen.refused += 1
        raise EOFError
    if b"transfer-encoding: chunked" not in head:
        raise ValueError("the answer is no stream")
    first = 0.0
    while size := int(await reader.readuntil(b"\r\n"), 16):
        first = first or time.monotonic()
        await reader.readexactly(size + 2)
    await reader.readexactly(2)
    if not first:
        raise ValueError("the stream has no event")
    seen.first_us.append(round((first - sent_at) * 1e6))


def main() -> None:
    """Command line."""
    url, body, connections, seconds = sys.argv[1:]
    sent = request(url, Path(body).read_bytes(), json.loads(os.environ[HEADERS]))
    began = time.monotonic()
    seen = asyncio.run(load(url, sent, int(connections), float(seconds)))
    ordered = sorted(seen.first_us)
    figures = {
        "requests": len(ordered),
        "duration_us": round((time.monotonic() - began) * 1e6),
        "p50_us": percentile(ordered, 50),
        "p99_us": percentile(ordered, 99),
        "refused": seen.refused,
        "broken": seen.broken,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
