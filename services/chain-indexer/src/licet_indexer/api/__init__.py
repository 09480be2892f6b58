"""The read API: what the mirror holds, with the position at which it was read."""

from __future__ import annotations

from fastapi import FastAPI
from licet_kit import problems
from licet_kit.cursor import CursorInvalid
from sqlalchemy.ext.asyncio import AsyncEngine

from licet_indexer.api import catalogue, ledger, rights


def make_app(engine: AsyncEngine) -> FastAPI:
    """The app; it only reads."""
    app = FastAPI(
        title="Licet chain indexer",
        version="1",
        summary="Canonical mirror of the chains",
        description=(
            "Every answer carries the position of the mirror it was read from. Amounts, token ids and plan ids are "
            "decimal strings; addresses and hashes are lowercase 0x-hex."
        ),
    )
    problems.install(app, {CursorInvalid: 400})
    for part in (ledger, catalogue, rights):
        app.include_router(part.router)
    app.state.engine = engine
    return app
