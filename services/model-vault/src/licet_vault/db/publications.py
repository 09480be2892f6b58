"""Who uploaded which bytes and manifests."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from licet_vault.db.tables import MANIFEST, MANIFEST_WALLET, UPLOAD
from licet_vault.domain import Publisher


async def add_upload(session: AsyncSession, account_id: str, sha256: str, size_bytes: int) -> bool:
    """Notes that an account holds these bytes; false when it was known."""
    row = insert(UPLOAD).values(account_id=account_id, sha256=sha256, size_bytes=size_bytes)
    done = await session.execute(row.on_conflict_do_nothing().returning(UPLOAD.c.sha256))
    return done.first() is not None


async def upload_sizes(session: AsyncSession, account_id: str, digests: Sequence[str]) -> dict[str, int]:
    """Sizes of those artefacts among `digests` that this account has uploaded."""
    rows = await session.execute(
        select(UPLOAD.c.sha256, UPLOAD.c.size_bytes).where(
            UPLOAD.c.account_id == account_id, UPLOAD.c.sha256.in_(digests)
        )
    )
    return {str(r.sha256): int(r.size_bytes) for r in rows}


async def add_manifest(session: AsyncSession, digest: str, body: bytes) -> bool:
    """Stores canonical bytes under their digest; false when they were there."""
    row = insert(MANIFEST).values(digest=digest, body=body)
    done = await session.execute(row.on_conflict_do_nothing().returning(MANIFEST.c.digest))
    return done.first() is not None


async def add_publisher(session: AsyncSession, digest: str, publisher: Publisher) -> None:
    """Notes who uploaded a manifest. Wallets are only ever added: whose the asset was then does not change."""
    rows = [
        {"digest": digest, "account_id": publisher.account_id, "wallet": wallet}
        for wallet in sorted(publisher.wallets)
    ]
    if rows:
        await session.execute(insert(MANIFEST_WALLET).values(rows).on_conflict_do_nothing())


async def manifest_body(session: AsyncSession, digest: str) -> bytes | None:
    """The bytes that are stored under a digest."""
    body: bytes | None = await session.scalar(select(MANIFEST.c.body).where(MANIFEST.c.digest == digest))
    return body


async def is_publisher(session: AsyncSession, digest: str, wallet: str) -> bool:
    """Whether an account with this wallet has uploaded this manifest."""
    query = select(MANIFEST_WALLET.c.wallet).where(
        MANIFEST_WALLET.c.digest == digest, MANIFEST_WALLET.c.wallet == wallet
    )
    return await session.scalar(query.limit(1)) is not None
