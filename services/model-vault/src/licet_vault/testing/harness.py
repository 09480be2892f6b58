"""A vault without its servers, on a real Triton, Postgres and store; only the clock is ours."""

import json
from pathlib import Path
from typing import Any

from licet_kit.clock import ManualClock
from licet_kit.db import reading, transaction
from licet_kit.ids import new_id
from licet_schemas import manifest as manifests
from licet_schemas.licet.vault.v1.vault_pb2 import VersionStateChanged
from licet_schemas.manifest import digest_bytes, parse
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from licet_vault import db
from licet_vault.clients.triton import Triton
from licet_vault.domain import AssetFact, FactKind, Position, Publisher, Truth, pinned_name
from licet_vault.reconciler import Reconciler, Timing
from licet_vault.repository.place import Repository
from licet_vault.store import ObjectStore
from licet_vault.testing.process import infer
from licet_vault.usecases.loading import Loader
from licet_vault.usecases.publishing import record_manifest

OWNER, STRANGER = ("0x" + digit * 40 for digit in "ab")
GRACE_S = 5.0
LIMIT_BYTES = 32 << 20


class Vault:
    """What a vault consists of, without its servers; `restart` makes a new process of it."""

    def __init__(self, engine: AsyncEngine, store: ObjectStore, repository: Path, url: str) -> None:
        self.engine = engine
        self.store = store
        self.repository = repository
        self.slug = f"t{new_id()[-10:]}/risk"
        self.asset_id = "0x" + new_id() * 2
        self._url = url
        self._block = 0
        self._tritons: list[Triton] = []
        self.restart()

    def restart(self, poll_s: float = 1.0) -> None:
        """A vault that remembers nothing but Postgres, store and repository."""
        self.clock = ManualClock()
        self.triton = Triton(self._url, load_timeout_s=60)
        self._tritons.append(self.triton)
        loader = Loader(self.store, Repository(self.repository), self.triton)
        # Grace counts by the database's clock, which no test moves; most tests let go at once.
        timing = Timing(poll_s=poll_s, unload_grace_s=0.0, announce_s=3600.0)
        self.reconciler = Reconciler(self.engine, loader, self.clock, timing)

    async def close(self) -> None:
        for triton in self._tritons:
            await triton.close()

    def put(self, content: bytes) -> None:
        with self.store.receive(digest_bytes(content)) as upload:
            upload.write(content)
            upload.finish()

    async def upload(self, files: dict[str, bytes], wallet: str = OWNER) -> str:
        """Artefacts and manifest, as after the publisher's calls; returns the digest."""
        for name, body in files.items():
            if name != "manifest.json":
                self.put(body)
        manifest = parse(files["manifest.json"])
        async with transaction(self.engine) as session:
            await record_manifest(session, Publisher("account", frozenset([wallet])), manifest)
        return manifests.digest(manifest)

    async def fact(self, kind: FactKind, **values: Any) -> AssetFact:
        """The next log of the chain."""
        self._block += 1
        position = Position(31337, self._block, f"0x{self._block}", 0)
        fact = AssetFact(self.asset_id, kind, position, Truth(1, retracted=False), **values)
        await self.record(fact)
        return fact

    async def record(self, fact: AssetFact) -> None:
        async with transaction(self.engine) as session:
            await db.record_fact(session, fact)

    async def activate(self, digest: str, uri: str = "") -> AssetFact:
        """Registers if need be, publishes and activates; returns the activation."""
        if self._block == 0:
            await self.fact(FactKind.REGISTERED, owner=OWNER, slug=self.slug)
        await self.fact(FactKind.PUBLISHED, digest=digest, uri=uri)
        return await self.fact(FactKind.ACTIVATED, digest=digest)

    async def told(self) -> list[VersionStateChanged]:
        """Everything that was announced, in order."""
        async with reading(self.engine) as session:
            rows = await session.execute(select(db.TABLES.outbox).order_by(db.TABLES.outbox.c.id))
            return [VersionStateChanged.FromString(row.payload) for row in rows]

    async def states(self) -> list[tuple[str, str]]:
        """State and reason of every announcement."""
        return [(m.state, m.reason) for m in await self.told()]

    def plaintext(self) -> list[Path]:
        """What the repository holds of this asset."""
        return [p for p in self.repository.iterdir() if p.name.startswith(self.slug.replace("/", "."))]

    def infer(self, digest: str, name: str = "FEATURES") -> int:
        """Status of one call under the pinned name."""
        return infer(self._url, pinned_name(self.slug, digest), name)

    async def loaded(self) -> list[str]:
        """Models of this asset that Triton has loaded."""
        return [
            name for name in await self.triton.ready_models() if name.startswith(self.slug.replace("/", "."))
        ]


def second(files: dict[str, bytes]) -> dict[str, bytes]:
    """Another version of the example: the same artefacts under another manifest."""
    body = json.loads(files["manifest.json"])
    body["summary"] = "The same, told otherwise."
    return {**files, "manifest.json": manifests.canonical(body)}
