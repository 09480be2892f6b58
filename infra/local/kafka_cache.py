"""Kafka's start, learned once: Java keeps the classes that a broker loads, linked and with their profiles (JEP 514).

A broker then starts in a third of the time and of the CPU. Java checks the cache against its own build and the jars,
and starts without it where they differ; so it is built again when either changes, and nothing depends on it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from infra.local import claims
from infra.local.errors import LocalError
from infra.local.kafka import kafka
from infra.local.part import Part
from infra.local.paths import KAFKA_CACHE
from infra.local.ports import Ports, choose, free_now

START_TIMEOUT_S = 120.0
WRITE_TIMEOUT_S = 120.0
POLL_S = 0.05
# Apart from every profile's: an installation must not take the ports of a stack that is about to start.
PORTS = {"kafka": {"broker": 27_092, "controller": 27_093}}


def build() -> None:
    """Run a broker of its own for a moment and let Java write down what it loaded. Raises LocalError."""
    KAFKA_CACHE.parent.mkdir(parents=True, exist_ok=True)
    KAFKA_CACHE.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=KAFKA_CACHE.parent) as folder:
        home = Path(folder)
        part = kafka(home, _claim_ports(home))
        written = home / "kafka.aot"
        try:
            part.prepare()
            _rehearse(part, written)
        finally:
            claims.release(home)
        written.replace(KAFKA_CACHE)


def _claim_ports(home: Path) -> Ports:
    with claims.choosing(home) as held:
        free = free_now()
        ports = choose(PORTS, {}, free=lambda port: port not in held and free(port))["kafka"]
        claims.hold(home, ports.values())
    return ports


def _rehearse(part: Part, written: Path) -> None:
    java, *rest = part.argv
    child = subprocess.Popen([java, f"-XX:AOTCacheOutput={written}", *rest], cwd=part.cwd)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not part.probe():
            if child.poll() is not None or time.monotonic() > deadline:
                raise LocalError("the broker whose start was to be learned did not come up")
            time.sleep(POLL_S)
        part.settle()
        child.terminate()
        child.wait(WRITE_TIMEOUT_S)
    finally:
        child.kill()
        child.wait()
    if not written.is_file():
        raise LocalError("Java wrote no cache of Kafka's start")


if __name__ == "__main__":
    try:
        build()
    except LocalError as error:
        sys.exit(f"licet: {error}")
