"""Sealed artefacts as files named by the sha256 of their plaintext.

A file appears under its name by one rename after it is complete, verified and on the disk; what a crash leaves lies in
`incoming/` and is removed at the next start. Only ciphertext is ever written.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from licet_kit.errors import PermanentError

from licet_vault.store.envelope import CHUNK_BYTES, Corrupted, MasterKey, Sealer, open_stream


class ObjectMissing(PermanentError):
    """No artefact of this digest is stored."""

    code = "artifact_missing"

    def __init__(self, sha256: str) -> None:
        super().__init__(f"no artefact {sha256} is stored")
        self.sha256 = sha256


class SizeExceeded(PermanentError):
    """The upload is longer than an artefact may be."""

    code = "request_too_large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"an artefact has at most {limit_bytes} bytes")
        self.limit_bytes = limit_bytes


class DigestMismatch(PermanentError):
    """The uploaded bytes do not hash to the digest that they were announced under."""

    code = "digest_mismatch"

    def __init__(self, announced: str, found: str) -> None:
        super().__init__(f"the bytes hash to {found}, not to {announced}")


class Upload:
    """One artefact on its way in; nothing remains of it unless `finish` returned. Used as a context manager."""

    def __init__(
        self, *, master: MasterKey, sha256: str, incoming: Path, target: Path, limit_bytes: int
    ) -> None:
        self._announced = sha256
        self._sealer = Sealer(master, bytes.fromhex(sha256[2:]))
        self._part = incoming / uuid.uuid4().hex
        self._target = target
        self._limit_bytes = limit_bytes
        self._hash = hashlib.sha256()
        self._buffer = bytearray()
        self.size_bytes = 0

    def __enter__(self) -> Self:
        self._file = self._part.open("xb")
        self._file.write(self._sealer.header)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Takes the next bytes; raises SizeExceeded."""
        self.size_bytes += len(data)
        if self.size_bytes > self._limit_bytes:
            raise SizeExceeded(self._limit_bytes)
        self._hash.update(data)
        self._buffer += data
        # Strictly more than a chunk: what may be the last one waits until the end is known.
        while len(self._buffer) > CHUNK_BYTES:
            self._file.write(self._sealer.seal(bytes(self._buffer[:CHUNK_BYTES]), last=False))
            del self._buffer[:CHUNK_BYTES]

    def finish(self) -> int:
        """Makes the artefact durable and visible; returns its size. Raises DigestMismatch."""
        found = "0x" + self._hash.hexdigest()
        if found != self._announced:
            raise DigestMismatch(self._announced, found)
        self._file.write(self._sealer.seal(bytes(self._buffer), last=True))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._target.parent.mkdir(parents=True, exist_ok=True)
        # Over an older copy as well: an upload then repairs what a bad disk has damaged.
        self._part.replace(self._target)
        _sync_folder(self._target.parent)
        _sync_folder(self._target.parent.parent)
        return self.size_bytes


class ObjectStore:
    """Artefacts below one folder, readable with one master key. Digests are `0x` and 64 hex digits."""

    def __init__(self, folder: Path, master: MasterKey, *, limit_bytes: int) -> None:
        self._objects = folder / "objects"
        self._incoming = folder / "incoming"
        self._master = master
        self._limit_bytes = limit_bytes

    def prepare(self) -> None:
        """Makes the folders and removes what interrupted uploads left. Only one process may use the folder."""
        for folder in (self._objects, self._incoming):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in self._incoming.iterdir():
            part.unlink()

    def receive(self, sha256: str) -> Upload:
        """A new upload of the artefact that hashes to `sha256`."""
        return Upload(
            master=self._master,
            sha256=sha256,
            incoming=self._incoming,
            target=self._path(sha256),
            limit_bytes=self._limit_bytes,
        )

    def has(self, sha256: str) -> bool:
        """Whether a complete artefact is stored."""
        return self._path(sha256).is_file()

    def read(self, sha256: str) -> Iterator[bytes]:
        """Plaintext chunks; raises ObjectMissing, Corrupted or WrongKey, at the latest at the end.

        The digest of the whole is checked too: the tags prove who wrote the bytes, the digest which bytes they are.
        """
        found = hashlib.sha256()
        try:
            source = self._path(sha256).open("rb")
        except FileNotFoundError:
            raise ObjectMissing(sha256) from None
        with source:
            for chunk in open_stream(self._master, bytes.fromhex(sha256[2:]), source):
                found.update(chunk)
                yield chunk
        if "0x" + found.hexdigest() != sha256:
            raise Corrupted(f"the plaintext hashes to 0x{found.hexdigest()}")

    def _path(self, sha256: str) -> Path:
        return self._objects / sha256[2:4] / sha256[2:]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
