import hashlib
import os
import shutil
from pathlib import Path

import pytest
from licet_vault.store import Corrupted, MasterKey, ObjectMissing, ObjectStore, SizeExceeded
from licet_vault.store.envelope import CHUNK_BYTES, Sealer
from licet_vault.store.objects import DigestMismatch

LIMIT = 4 * CHUNK_BYTES


def name_of(content: bytes) -> str:
    return "0x" + hashlib.sha256(content).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    made = ObjectStore(tmp_path, MasterKey(bytes(32)), limit_bytes=LIMIT)
    made.prepare()
    return made


def put(store: ObjectStore, content: bytes, name: str | None = None, piece: int = 70_000) -> None:
    with store.receive(name or name_of(content)) as upload:
        for at in range(0, len(content), piece):
            upload.write(content[at : at + piece])
        upload.finish()


def files(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file()]


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, LIMIT])
def test_what_was_put_is_read_back(store: ObjectStore, size: int) -> None:
    content = os.urandom(size)
    put(store, content)
    assert store.has(name_of(content))
    assert b"".join(store.read(name_of(content))) == content


def test_no_file_of_the_store_holds_plaintext(store: ObjectStore, tmp_path: Path) -> None:
    content = b"the weights of a model, in the clear" * 40_000
    put(store, content)
    stored = files(tmp_path)
    assert stored
    assert not [p for p in stored if b"in the clear" in p.read_bytes()]


def test_no_file_holds_plaintext_while_the_upload_runs(store: ObjectStore, tmp_path: Path) -> None:
    content = b"the weights of a model, in the clear" * 40_000
    with store.receive(name_of(content)) as upload:
        upload.write(content)
        assert files(tmp_path)
        assert not [p for p in files(tmp_path) if b"in the clear" in p.read_bytes()]


def test_bytes_that_are_not_the_announced_ones_leave_nothing(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(DigestMismatch):
        put(store, b"other bytes", name_of(b"announced"))
    assert files(tmp_path) == []
    with pytest.raises(ObjectMissing):
        list(store.read(name_of(b"announced")))


def test_an_upload_beyond_the_limit_leaves_nothing(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(SizeExceeded):
        put(store, bytes(LIMIT + 1))
    assert files(tmp_path) == []


def test_a_broken_off_upload_leaves_nothing(store: ObjectStore, tmp_path: Path) -> None:
    def broken_off() -> None:
        with store.receive(name_of(b"x")) as upload:
            upload.write(bytes(CHUNK_BYTES + 1))
            raise ConnectionError

    with pytest.raises(ConnectionError):
        broken_off()
    assert files(tmp_path) == []


def test_what_a_killed_process_left_is_removed_at_the_next_start(store: ObjectStore, tmp_path: Path) -> None:
    with store.receive(name_of(b"x")) as upload:
        upload.write(bytes(CHUNK_BYTES + 1))
        frozen = tmp_path / "frozen"
        shutil.copytree(tmp_path / "incoming", frozen)
    shutil.copytree(frozen, tmp_path / "incoming", dirs_exist_ok=True)
    store.prepare()
    assert list((tmp_path / "incoming").iterdir()) == []
    assert not store.has(name_of(b"x"))


def test_a_repeated_upload_repairs_a_damaged_artefact(store: ObjectStore, tmp_path: Path) -> None:
    content = os.urandom(1000)
    put(store, content)
    (path,) = files(tmp_path / "objects")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Corrupted):
        list(store.read(name_of(content)))
    put(store, content)
    assert b"".join(store.read(name_of(content))) == content


def test_an_artefact_put_in_anothers_place_is_detected(store: ObjectStore, tmp_path: Path) -> None:
    put(store, b"mine")
    put(store, b"theirs")
    mine, theirs = (tmp_path / "objects" / n[2:4] / n[2:] for n in (name_of(b"mine"), name_of(b"theirs")))
    shutil.copy(theirs, mine)
    with pytest.raises(Corrupted):
        list(store.read(name_of(b"mine")))


def test_bytes_written_under_a_digest_that_is_not_theirs_are_not_given(
    store: ObjectStore, tmp_path: Path
) -> None:
    """Whoever holds the master key could seal anything under any name; the plaintext's own digest decides."""
    name = name_of(b"promised")
    sealer = Sealer(MasterKey(bytes(32)), bytes.fromhex(name[2:]))
    path = tmp_path / "objects" / name[2:4] / name[2:]
    path.parent.mkdir()
    path.write_bytes(sealer.header + sealer.seal(b"other weights", last=True))
    with pytest.raises(Corrupted, match="hashes to"):
        list(store.read(name))
