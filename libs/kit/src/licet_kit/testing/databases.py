"""Fresh databases, cloned from a template that each migrations folder is applied to once."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from sqlalchemy import MetaData

import licet_kit.migrations
from licet_kit.db import open_engine
from licet_kit.ids import new_id
from licet_kit.migrations import migrate

# Copying files costs a quarter of copying pages through the log, which is PostgreSQL's default.
_CREATE = 'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY'


class Databases:
    """Makes databases on one server and drops those that it made."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._made: list[str] = []

    async def create(self, source: Path | MetaData | None = None) -> str:
        """Return the URL of a new database: migrated (a folder), with tables (metadata), or empty."""
        name = f"t_{new_id()}"
        template = await self._template(source) if isinstance(source, Path) else None
        async with self._admin() as admin:
            await admin.execute(_CREATE.format(name=name, template=template or "template1"))
        self._made.append(name)
        url = self._url(name)
        if isinstance(source, MetaData):
            async with open_engine(url, pool_size=1) as engine, engine.begin() as connection:
                await connection.run_sync(source.create_all)
        return url

    async def drop_all(self) -> None:
        """Drop every database made here, whoever is connected."""
        async with self._admin() as admin:
            while self._made:
                await admin.execute(f'DROP DATABASE IF EXISTS "{self._made.pop()}" WITH (FORCE)')

    async def _template(self, folder: Path) -> str:
        """Return the migrated template of a folder's present content; made once, whichever process comes first."""
        name = f"template_{_digest(folder)}"
        async with self._admin() as admin:
            # The lock ends with the connection.
            await admin.execute("SELECT pg_advisory_lock(hashtext($1))", name)
            # Only a finished template is marked as one.
            if await admin.fetchval("SELECT datistemplate FROM pg_database WHERE datname = $1", name):
                return name
            await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            await admin.execute(_CREATE.format(name=name, template="template1"))
            await migrate(self._url(name), folder)
            await admin.execute(f'ALTER DATABASE "{name}" IS_TEMPLATE true')
        return name

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        connection = await asyncpg.connect(self._server_url)
        try:
            yield connection
        finally:
            await connection.close()

    def _url(self, name: str) -> str:
        parts = urlsplit(self._server_url)
        return urlunsplit((parts.scheme, parts.netloc, f"/{name}", parts.query, ""))


def _digest(folder: Path) -> str:
    digest = hashlib.sha256(Path(licet_kit.migrations.__file__).read_bytes())
    for path in sorted(path for path in folder.rglob("*") if path.suffix in {".py", ".sql"}):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:24]
