"""Takes in what a publisher uploads."""

from __future__ import annotations

from licet_schemas import manifest as manifests
from licet_schemas.manifest import Manifest
from sqlalchemy.ext.asyncio import AsyncSession

from licet_vault import db
from licet_vault.domain import ArtifactMissing, ManifestInvalid, Publisher


async def require_artifacts(session: AsyncSession, publisher: Publisher, manifest: Manifest) -> None:
    """Raises ArtifactMissing or ManifestInvalid unless this account has uploaded every artefact, in its size.

    By this account: digests of others' artefacts are public, and naming them must not give their weights away.
    """
    sizes = await db.upload_sizes(session, publisher.account_id, [a.sha256 for a in manifest.artifacts])
    for artifact in manifest.artifacts:
        if artifact.sha256 not in sizes:
            raise ArtifactMissing(f"artefact {artifact.name} ({artifact.sha256}) of this account")
        if sizes[artifact.sha256] != artifact.size_bytes:
            raise ManifestInvalid(
                f"artifacts: {artifact.name} has {sizes[artifact.sha256]} bytes, not {artifact.size_bytes}"
            )


async def record_manifest(session: AsyncSession, publisher: Publisher, manifest: Manifest) -> bool:
    """Stores a manifest and who brought it; false when this manifest was stored before. Idempotent."""
    body = manifests.canonical(manifest)
    digest = manifests.digest_bytes(body)
    created = await db.add_manifest(session, digest, body)
    await db.add_publisher(session, digest, publisher)
    return created


async def stored_manifest(session: AsyncSession, digest: str) -> bytes:
    """The canonical bytes of a manifest; raises ArtifactMissing."""
    body = await db.manifest_body(session, digest)
    if body is None:
        raise ArtifactMissing(f"manifest {digest}")
    return body
