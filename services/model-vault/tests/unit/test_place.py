import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from licet_schemas.manifest import Manifest, digest_bytes
from licet_vault.repository.entry import folder_names, plan
from licet_vault.repository.memory import NotInMemory
from licet_vault.repository.place import Repository

NAME = "acme.tumour-risk-0123456789abcdef"


@pytest.fixture
def read(tumour_files: dict[str, bytes]) -> Callable[[str], Iterator[bytes]]:
    by_digest = {digest_bytes(body): body for body in tumour_files.values()}
    return lambda sha256: iter([by_digest[sha256][:50], by_digest[sha256][50:]])


def test_a_folder_on_a_disk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotInMemory, match="not on tmpfs"):
        Repository(tmp_path).prepare()


def test_a_link_from_memory_to_a_disk_is_refused(memory_folder: Path, tmp_path: Path) -> None:
    (memory_folder / "models").symlink_to(tmp_path)
    with pytest.raises(NotInMemory):
        Repository(memory_folder / "models").prepare()


def test_an_entry_is_placed_whole_and_for_its_owner_alone(
    memory_folder: Path, tumour_manifest: Manifest, read: Callable[[str], Iterator[bytes]]
) -> None:
    repository, entry = Repository(memory_folder), plan(tumour_manifest, NAME)
    repository.prepare()
    assert not repository.holds(entry)
    repository.place(entry, read)
    assert repository.holds(entry)
    assert {p.name for p in memory_folder.iterdir()} == set(folder_names(NAME))
    modes = {stat.S_IMODE(p.stat().st_mode) & 0o077 for p in memory_folder.rglob("*")}
    assert modes == {0}


def test_an_artefact_that_fails_half_way_leaves_nothing(
    memory_folder: Path, tumour_manifest: Manifest
) -> None:
    def broken(sha256: str) -> Iterator[bytes]:
        yield b"half of it"
        raise ConnectionError

    repository = Repository(memory_folder)
    with pytest.raises(ConnectionError):
        repository.place(plan(tumour_manifest, NAME), broken)
    assert list(memory_folder.iterdir()) == []


def test_what_a_killed_vault_left_is_removed_at_the_next_start(
    memory_folder: Path, tumour_manifest: Manifest, read: Callable[[str], Iterator[bytes]]
) -> None:
    left = memory_folder / f".staging-{NAME}" / NAME / "1"
    left.mkdir(parents=True)
    (left / "model.onnx").write_bytes(b"half")
    Repository(memory_folder).prepare()
    assert list(memory_folder.iterdir()) == []


@pytest.mark.parametrize("how", ["changed", "missing", "added"])
def test_an_entry_that_is_not_whole_is_not_held(
    how: str, memory_folder: Path, tumour_manifest: Manifest, read: Callable[[str], Iterator[bytes]]
) -> None:
    repository, entry = Repository(memory_folder), plan(tumour_manifest, NAME)
    repository.place(entry, read)
    model = memory_folder / f"{NAME}.model" / "1"
    match how:
        case "changed":
            (model / "model.onnx").write_bytes(b"other weights")
        case "missing":
            (model / "model.onnx").unlink()
        case _:
            (model / "sitecustomize.py").write_text("import os")
    assert not repository.holds(entry)
    repository.place(entry, read)
    assert repository.holds(entry)


def test_a_removed_version_leaves_no_plaintext(
    memory_folder: Path, tumour_manifest: Manifest, read: Callable[[str], Iterator[bytes]]
) -> None:
    repository = Repository(memory_folder)
    repository.place(plan(tumour_manifest, NAME), read)
    repository.remove(NAME)
    assert list(memory_folder.iterdir()) == []
