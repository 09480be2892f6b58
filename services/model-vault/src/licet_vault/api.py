"""The vault's REST API: uploads by publishers, manifests and states for everyone."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi import Path as PathParameter
from licet_kit import cursor, problems
from licet_kit.cursor import CursorInvalid, Page
from licet_kit.db import reading, transaction
from licet_schemas import manifest as manifests
from licet_schemas.manifest import Manifest, ManifestError
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine

from licet_vault import db, telemetry
from licet_vault.clients.licensing import CredentialInvalid, CredentialMissing, Licensing
from licet_vault.domain import (
    ArtifactMissing,
    DigestMismatch,
    LoadFailed,
    ManifestInvalid,
    Publisher,
    VersionState,
)
from licet_vault.store import ObjectStore, SizeExceeded
from licet_vault.store.objects import DigestMismatch as UploadMismatch
from licet_vault.uploads import Slots, UploadLimits, UploadStalled, receive
from licet_vault.usecases.loading import verified_interface
from licet_vault.usecases.publishing import record_manifest, require_artifacts, stored_manifest

PAGE_DEFAULT, PAGE_MAX = 50, 200
MAX_MANIFEST_BODY_BYTES = (
    2 * manifests.MAX_BYTES
)  # the canonical form is what counts; this allows for indentation

# A check takes as long as decrypting and parsing what the manifest names.
CHECK_WAIT_S = 10.0

_NAMED = re.compile(r"^[!-~]{1,256}$")
Digest = Annotated[str, PathParameter(pattern=r"^0x[0-9a-f]{64}$")]

# What a slug or an id may be: Postgres takes no NUL and no surrogate, nor does any name of ours hold one.
Named = Annotated[str, Query(pattern=_NAMED.pattern)]


@dataclass(frozen=True, slots=True)
class Deps:
    """What the routes work with. `on_manifest` is told when a manifest has been stored."""

    engine: AsyncEngine
    store: ObjectStore
    licensing: Licensing
    on_manifest: Callable[[], None]
    uploads: UploadLimits


class StoredArtifact(BaseModel):
    """An artefact that is stored and sealed."""

    sha256: str
    size_bytes: int


class StoredManifest(BaseModel):
    """The digest to publish on chain."""

    digest: str


class VersionView(BaseModel):
    """One version on one inference server."""

    asset_id: str
    slug: str
    version_digest: str
    triton_model: str
    state: str
    reason: str
    metering_rule: str
    interface: dict[str, Any] | None
    version: int
    changed_at: datetime


async def _authenticate(request: Request) -> Publisher:
    deps: Deps = request.app.state.deps
    return await deps.licensing.publisher(request.headers.get("authorization", ""))


Authenticated = Annotated[Publisher, Depends(_authenticate)]


def make_app(deps: Deps) -> FastAPI:
    """The application with its routes and its error edge."""
    app = FastAPI(title="Licet model-vault", version="1")
    app.state.deps = deps
    problems.install(
        app,
        {
            CredentialMissing: 401,
            CredentialInvalid: 401,
            SizeExceeded: 413,
            UploadMismatch: 422,
            UploadStalled: 408,
            ManifestInvalid: 422,
            ArtifactMissing: 422,
            DigestMismatch: 422,
            LoadFailed: 503,
            CursorInvalid: 400,
        },
    )
    _add_uploads(app, deps)
    _add_reads(app, deps)
    return app


def _add_uploads(app: FastAPI, deps: Deps) -> None:
    slots = Slots(deps.uploads.slots)
    # Each check holds a graph in memory, and its thread serves uploads and reconcilers too.
    checks = Slots(1, wait_s=CHECK_WAIT_S)

    @app.put("/v1/artifacts/{sha256}", status_code=201)
    async def put_artifact(
        sha256: Digest, request: Request, response: Response, publisher: Authenticated
    ) -> StoredArtifact:
        """Stores the bytes of the body under their sha256; 200 when this account had uploaded them before."""
        async with slots.hold(publisher.account_id):
            size_bytes = await receive(deps.store, deps.uploads, sha256, request)
        telemetry.UPLOADED.add(size_bytes)
        async with transaction(deps.engine) as session:
            if not await db.add_upload(session, publisher.account_id, sha256, size_bytes):
                response.status_code = 200
        return StoredArtifact(sha256=sha256, size_bytes=size_bytes)

    @app.post("/v1/manifests", status_code=201)
    async def post_manifest(request: Request, response: Response, publisher: Authenticated) -> StoredManifest:
        """Stores a manifest of which this account has uploaded every artefact; 200 when it was stored before."""
        try:
            manifest = manifests.parse(await _body(request, MAX_MANIFEST_BODY_BYTES))
        except ManifestError as error:
            raise ManifestInvalid(str(error)) from error
        async with reading(deps.engine) as session:
            await require_artifacts(session, publisher, manifest)
        if not await _record(deps, checks, publisher, manifest):
            response.status_code = 200
        deps.on_manifest()
        return StoredManifest(digest=manifests.digest(manifest))


def _add_reads(app: FastAPI, deps: Deps) -> None:
    @app.get("/v1/manifests/{digest}")
    async def get_manifest(digest: Digest) -> Response:
        """The canonical bytes, whose sha256 is the digest."""
        async with reading(deps.engine) as session:
            try:
                body = await stored_manifest(session, digest)
            except ArtifactMissing as error:
                raise problems.Problem(404, "manifest_unknown", str(error)) from error
        return Response(body, media_type="application/json", headers={"etag": f'"{digest}"'})

    @app.get("/v1/versions")
    async def get_versions(
        slug: Named | None = None,
        asset_id: Named | None = None,
        after: Annotated[str | None, Query(alias="cursor")] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE_DEFAULT,
    ) -> Page[VersionView]:
        """What became of each version that the chain holds or held active."""
        async with reading(deps.engine) as session:
            rows = await db.list_states(
                session, slug=slug, asset_id=asset_id, after=_position(after), limit=limit + 1
            )
        page = cursor.page(rows, limit, lambda row: dict(zip(_CURSOR, _key(row[0]), strict=True)))
        return Page(
            data=[_view(state, changed_at) for state, changed_at in page.data],
            has_more=page.has_more,
            next_cursor=page.next_cursor,
        )


async def _record(deps: Deps, checks: Slots, publisher: Publisher, manifest: Manifest) -> bool:
    """Records a manifest and who brought it; false when it was recorded before, and so was checked then."""
    if not await _is_recorded(deps, manifest):
        async with checks.hold(publisher.account_id):
            # Whoever was in front may have brought the same.
            if not await _is_recorded(deps, manifest):
                # The same check as before loading, so that the publisher hears of a fault and not only the log.
                await asyncio.to_thread(verified_interface, deps.store, manifest)
            return await _add(deps, publisher, manifest)
    return await _add(deps, publisher, manifest)


async def _is_recorded(deps: Deps, manifest: Manifest) -> bool:
    async with reading(deps.engine) as session:
        return await db.manifest_body(session, manifests.digest(manifest)) is not None


async def _add(deps: Deps, publisher: Publisher, manifest: Manifest) -> bool:
    async with transaction(deps.engine) as session:
        return await record_manifest(session, publisher, manifest)


async def _body(request: Request, limit_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit_bytes:
            raise SizeExceeded(limit_bytes)
    return bytes(body)


_CURSOR = ("asset_id", "digest", "triton_url")


def _key(state: VersionState) -> db.StateKey:
    return state.asset_id, state.digest, state.triton_url


def _position(after: str | None) -> db.StateKey | None:
    if after is None:
        return None
    position = cursor.decode(after)
    values = [position.get(name) for name in _CURSOR]
    asset_id, digest, triton_url = (str(value) for value in values)
    if not all(isinstance(value, str) and _NAMED.fullmatch(value) for value in values):
        raise CursorInvalid("the cursor is of another list")
    return asset_id, digest, triton_url


def _view(state: VersionState, changed_at: datetime) -> VersionView:
    return VersionView(
        asset_id=state.asset_id,
        slug=state.slug,
        version_digest=state.digest,
        triton_model=state.triton_model,
        state=state.state.value,
        reason=state.reason,
        metering_rule=state.metering_rule,
        interface=json.loads(state.schema_json) if state.schema_json else None,
        version=state.number,
        changed_at=changed_at,
    )
