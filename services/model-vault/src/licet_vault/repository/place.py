"""Puts entries into Triton's repository and takes them out again."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from licet_vault.repository.entry import Entry, Folder, Stored, folder_names, pinned_of
from licet_vault.repository.memory import require_memory

_STAGING = ".staging-"

ReadArtifact = Callable[[str], Iterator[bytes]]
"""Verified plaintext chunks of the artefact of a digest; raises before the end when they are not what it names."""


class Repository:
    """Triton's model repository: a folder in memory, readable by its owner alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self) -> None:
        """Removes what a killed vault left half written. Raises NotInMemory on a disk's file system."""
        require_memory(self._folder)
        for left in self._folder.glob(f"{_STAGING}*"):
            shutil.rmtree(left)

    def place(self, entry: Entry, read: ReadArtifact) -> None:
        """Writes the entry beside the repository's models and renames it in, complete folder by complete folder.

        What a Triton has loaded must have been unloaded first. Raises what `read` raises; then nothing is left.
        """
        self.remove(entry.triton_model)
        staging = self._folder / f"{_STAGING}{entry.triton_model}"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(mode=0o700)
        try:
            for folder in entry.folders:
                _write(staging / folder.name, folder, read)
            for folder in entry.folders:
                (staging / folder.name).rename(self._folder / folder.name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def holds(self, entry: Entry) -> bool:
        """Whether every byte of the entry is in place."""
        return all(_matches(self._folder / folder.name, folder) for folder in entry.folders)

    def triton_models(self) -> frozenset[str]:
        """Pinned names of which anything is in place."""
        found = (path.name for path in self._folder.iterdir() if not path.name.startswith("."))
        return frozenset(pinned_of(name) for name in found)

    def remove(self, triton_model: str) -> None:
        """Forgets the plaintext of a version."""
        for name in folder_names(triton_model):
            shutil.rmtree(self._folder / name, ignore_errors=True)


def _write(target: Path, folder: Folder, read: ReadArtifact) -> None:
    for path, content in folder.files.items():
        file = target / path
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            for chunk in read(content.sha256) if isinstance(content, Stored) else (content,):
                stream.write(chunk)


def _matches(target: Path, folder: Folder) -> bool:
    # Beside the code Python keeps what it compiled from it.
    files = (p for p in target.rglob("*") if p.is_file() and p.parent.name != "__pycache__")
    present = {str(p.relative_to(target)) for p in files}
    if present != set(folder.files):
        return False
    return all(
        _file_digest(target / path) == _wanted_digest(content) for path, content in folder.files.items()
    )


def _file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return "0x" + hashlib.file_digest(stream, "sha256").hexdigest()


def _wanted_digest(content: bytes | Stored) -> str:
    return content.sha256 if isinstance(content, Stored) else "0x" + hashlib.sha256(content).hexdigest()
