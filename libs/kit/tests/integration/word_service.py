"""A whole service on the kit, run as a process by the tests."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

from fastapi import FastAPI
from licet_kit.cli import Runtime, main
from licet_kit.db import open_engine, ping
from licet_kit.http import serve_http
from licet_kit.lifecycle import Service
from licet_kit.migrations import require_head
from licet_kit.settings import PostgresSettings
from licet_kit.telemetry import meter, tracer
from pydantic_settings import SettingsConfigDict

MIGRATIONS = Path(__file__).parent / "migrations"


class Settings(PostgresSettings):
    """Settings of the service."""

    model_config = SettingsConfigDict(env_prefix="WORDS_")
    service_name: ClassVar[str] = "words"

    http_port: int = 8990
    fails: bool = False


@asynccontextmanager
async def build(settings: Settings, runtime: Runtime) -> AsyncIterator[Sequence[Service]]:
    app = FastAPI()
    words = meter("words").create_counter("licet.words")

    @app.get("/word")
    async def word() -> dict[str, str]:
        with tracer("words").start_as_current_span("say a word"):
            words.add(1)
        return {"word": "licet"}

    @app.get("/slow")
    async def slow() -> dict[str, str]:
        words.add(1)
        await asyncio.sleep(1)
        return {"word": "patience"}

    async def fail(stop: asyncio.Event) -> None:
        if settings.fails:
            raise ZeroDivisionError("a part failed")
        await stop.wait()

    async with open_engine(settings.database_url) as engine:
        await require_head(engine, MIGRATIONS)
        runtime.health.add("postgres", lambda: ping(engine))
        yield [serve_http(app, settings.host, settings.http_port), fail]


if __name__ == "__main__":
    sys.exit(main(Settings, build, migrations=MIGRATIONS))
