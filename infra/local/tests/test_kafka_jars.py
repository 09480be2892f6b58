"""Kafka's class path holds the jars of the lock and no other byte."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from infra.local import kafka_jars
from infra.local.kafka_jars import LOCK, ROOTS, Jar, JarMismatch, install, mirror_of_central, read_lock

GOOD, BAD = b"the jar", b"another jar"


class Maven:
    """Answers downloads from a list, one after the other, through a cache file as the real one does."""

    def __init__(self, cache: Path, *answers: bytes) -> None:
        self.cache, self.answers = cache, list(answers)

    def download(self, context: object, coordinate: str) -> Path:
        if not self.cache.exists():
            self.cache.write_bytes(self.answers.pop(0))
        return self.cache


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "lock"
    path.write_text(f"# note\n{hashlib.sha256(GOOD).hexdigest()}  org.example:thing:1.0\n")
    return path


def serve(monkeypatch: pytest.MonkeyPatch, maven: Maven) -> None:
    monkeypatch.setattr(kafka_jars, "download", maven.download)


def test_a_jar_with_another_hash_is_refused(
    tmp_path: Path, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, Maven(tmp_path / "cache", BAD, BAD))

    with pytest.raises(JarMismatch, match=r"org\.example:thing:1\.0 does not have the SHA-256"):
        install(tmp_path / "kafka", lock)

    assert list((tmp_path / "kafka").iterdir()) == []


def test_a_download_that_was_cut_off_is_fetched_again(
    tmp_path: Path, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, Maven(tmp_path / "cache", GOOD[:3], GOOD))

    assert install(tmp_path / "kafka", lock) == 1
    assert (tmp_path / "kafka" / "thing-1.0.jar").read_bytes() == GOOD


def test_a_jar_that_was_changed_in_place_is_replaced_and_strays_go(
    tmp_path: Path, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, Maven(tmp_path / "cache", GOOD))
    folder = tmp_path / "kafka"
    folder.mkdir()
    (folder / "thing-1.0.jar").write_bytes(BAD)
    (folder / "thing-0.9.jar").write_bytes(BAD)

    install(folder, lock)

    assert [path.name for path in folder.iterdir()] == ["thing-1.0.jar"]
    assert (folder / "thing-1.0.jar").read_bytes() == GOOD


def test_the_committed_lock_names_the_roots_and_the_logging_that_kafka_needs() -> None:
    jars = read_lock(LOCK)

    assert all(len(jar.sha256) == 64 for jar in jars)
    assert set(ROOTS) < {jar.coordinate for jar in jars}
    assert Jar("", "org.apache.kafka:kafka-clients:4.4.0").filename in {jar.filename for jar in jars}


def test_the_machines_mirror_of_central_is_used(tmp_path: Path) -> None:
    settings = tmp_path / "settings.xml"
    mirror = "<mirror><id>m</id><mirrorOf>{}</mirrorOf><url>https://maven.example/all/</url></mirror>"
    head = '<settings xmlns="http://maven.apache.org/SETTINGS/1.2.0"><mirrors>'

    def found(target: str) -> str | None:
        settings.write_text(f"{head}{mirror.format(target)}</mirrors></settings>")
        return mirror_of_central((settings, tmp_path / "none.xml"))

    assert found("central") == "https://maven.example/all"
    assert found("*") == "https://maven.example/all"
    assert found("*,!central") is None
    assert found("external:http:*") is None
