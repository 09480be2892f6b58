"""What Java learned of Kafka's start is used, and a broker starts without it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from infra.local import kafka as module
from infra.local import kafka_cache
from infra.local.kafka import kafka
from infra.local.part import Part
from infra.local.paths import KAFKA_CACHE

JAVA_TIMEOUT_S = 60


def version(home: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Kafka's version, by the command line that starts it."""
    java, *rest = kafka(home, {"broker": 1, "controller": 2}).argv
    line = [java, *flags, *rest[:-1], "--version"]
    return subprocess.run(line, capture_output=True, text=True, timeout=JAVA_TIMEOUT_S, check=False)


def test_the_cache_fits_this_java_and_these_jars(tmp_path: Path) -> None:
    said = version(tmp_path, "-XX:AOTMode=on")  # with this, Java refuses to start without it
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize("content", [None, b"", b"no cache of Java's"])
def test_a_broker_starts_without_a_cache(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kafka.aot"
    if content is not None:
        path.write_bytes(content)
    assert path != KAFKA_CACHE
    monkeypatch.setattr(module, "KAFKA_CACHE", path)
    assert version(tmp_path).returncode == 0


def test_two_that_learn_at_once_do_so_on_ports_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each checkout installs for itself; a port is chosen seconds before Java listens on it."""
    taken: list[int] = []

    def rehearse(part: Part, written: Path) -> None:
        taken.extend(part.ports.values())
        if len(taken) == 2:
            kafka_cache.build()
        written.touch()

    monkeypatch.setattr(kafka_cache, "KAFKA_CACHE", tmp_path / "kafka.aot")
    monkeypatch.setattr(kafka_cache, "_rehearse", rehearse)
    kafka_cache.build()
    assert len(set(taken)) == len(taken) == 4
