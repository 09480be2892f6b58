"""Brings one version into Triton, verified byte by byte against the digest that the chain holds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from licet_schemas import manifest as manifests
from licet_schemas.manifest import Manifest, ManifestError
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncSession

from licet_vault import db
from licet_vault.clients.triton import Triton, TritonUnavailable
from licet_vault.domain import (
    ArtifactMissing,
    DigestMismatch,
    LoadFailed,
    ManifestInvalid,
    PublisherMismatch,
    Version,
)
from licet_vault.repository.entry import Entry, folder_names, plan
from licet_vault.repository.inspect import inspect, schema_json, typical_row
from licet_vault.repository.place import Repository
from licet_vault.store import Corrupted, ObjectMissing, ObjectStore, WrongKey


@dataclass(frozen=True, slots=True)
class Interface:
    """What callers of a version must know, and a row `[1, …] float32` that it must answer."""

    metering_rule: str
    schema_json: str
    sample: NDArray[np.float32]


async def verified_manifest(session: AsyncSession, version: Version) -> Manifest:
    """The manifest that the chain's digest promises.

    Raises ArtifactMissing, DigestMismatch, PublisherMismatch or ManifestInvalid.
    """
    body = await db.manifest_body(session, version.manifest_digest)
    if body is None:
        raise ArtifactMissing(f"manifest {version.manifest_digest}")
    found = manifests.digest_bytes(body)
    if found != version.digest:
        raise DigestMismatch(f"the chain promises manifest {version.digest}, the bytes are {found}")
    if not await db.is_publisher(session, version.digest, version.publisher):
        raise PublisherMismatch(version.publisher)
    try:
        return manifests.parse(body)
    except ManifestError as error:
        raise ManifestInvalid(str(error)) from error


def verified_interface(store: ObjectStore, manifest: Manifest) -> Interface:
    """Reads every artefact and checks that they are what the manifest says; takes as long as decrypting them.

    Raises ArtifactMissing, DigestMismatch, ManifestInvalid or LoadFailed.
    """
    with _refusing():
        tabular = inspect(manifest, store.read)
        return Interface(
            manifest.metering_rule, schema_json(manifest, tabular), typical_row(manifest, tabular)
        )


class Loader:
    """Loads versions into one Triton through its memory-backed repository."""

    def __init__(self, store: ObjectStore, repository: Repository, triton: Triton) -> None:
        self._store = store
        self._repository = repository
        self.triton = triton

    async def serve(self, version: Version, manifest: Manifest) -> Interface:
        """Returns once Triton answers under the pinned name with exactly this version; idempotent.

        Raises a Refusal, after which nothing of the version is loaded or in the repository, or TritonUnavailable.
        """
        entry = plan(manifest, version.triton_model)
        try:
            interface = await asyncio.to_thread(verified_interface, self._store, manifest)
            if not await self._is_served(entry):
                await self._replace(entry)
            await self.triton.probe(entry.triton_model, manifest, interface.sample)
        except TritonUnavailable:
            raise
        except Exception:
            # What nobody expected as well: its plaintext must not stay in memory.
            await self.forget(version.triton_model)
            raise
        return interface

    async def forget(self, triton_model: str) -> None:
        """Unloads a version and removes its plaintext, whether or not there is any.

        Raises TritonUnavailable, or LoadFailed where the file system refuses.
        """
        await self.triton.unload(*reversed(folder_names(triton_model)))
        await asyncio.to_thread(self._remove, triton_model)

    async def leftovers(self) -> frozenset[str]:
        """Pinned names of which the repository holds anything."""
        return await asyncio.to_thread(self._repository.triton_models)

    async def _is_served(self, entry: Entry) -> bool:
        """Whether Triton has loaded this entry, and the repository still holds what it would load again."""
        names = [folder.name for folder in entry.folders]
        if not (await self.triton.ready_models()).issuperset(names):
            return False
        loaded = {await self.triton.loaded_entry(name) for name in names}
        return loaded == {entry.entry_id} and await asyncio.to_thread(self._holds, entry)

    async def _replace(self, entry: Entry) -> None:
        # Never loaded over: Triton keeps the old files where it takes the configuration for the same.
        await self.forget(entry.triton_model)
        await asyncio.to_thread(self._place, entry)
        await self.triton.load(entry.triton_model)
        if not await self._is_served(entry):
            raise LoadFailed(f"Triton has not loaded entry {entry.entry_id}")

    def _holds(self, entry: Entry) -> bool:
        with _refusing():
            return self._repository.holds(entry)

    def _remove(self, triton_model: str) -> None:
        with _refusing():
            self._repository.remove(triton_model)

    def _place(self, entry: Entry) -> None:
        with _refusing():
            self._repository.place(entry, self._store.read)


@contextmanager
def _refusing() -> Iterator[None]:
    """Turns what the store and the file system say into the reasons that are announced."""
    try:
        yield
    except ObjectMissing as error:
        raise ArtifactMissing(f"artefact {error.sha256}") from error
    except Corrupted as error:
        raise DigestMismatch(str(error)) from error
    except (WrongKey, OSError) as error:
        # The operator's to mend: another master key, no space left in memory.
        raise LoadFailed(str(error)) from error
