"""Fetch Kafka's jars from Maven by coordinate and refuse any whose SHA-256 is not the committed one.

`python -m infra.local.kafka_jars` fills `.local/kafka`; with `--relock` it resolves the two root artifacts
again and rewrites `kafka.jars.sha256`. Runs in the venv, because the resolver (jgo) lives there.
"""

from __future__ import annotations

import hashlib
import sys
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from jgo.maven import MavenContext, PythonResolver

from infra.local.paths import DOWNLOADS, HERE, KAFKA_JARS

LOCK = HERE / "kafka.jars.sha256"
# Two separate resolutions: together, log4j-slf4j-impl's parent pulls kafka-clients to an older release.
ROOTS = ("org.apache.kafka:kafka_2.13:4.4.0", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5")
PARALLEL_DOWNLOADS = 8  # enough to hide latency, few enough for a shared mirror
TIMEOUT_S = 60
MAVEN_SETTINGS = (Path.home() / ".m2" / "settings.xml", Path("/etc/maven/settings.xml"))


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock: `coordinate` is group:artifact:version."""

    sha256: str
    coordinate: str

    @property
    def filename(self) -> str:
        """Name under which the jar lies on the class path."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


class JarMismatch(Exception):
    """A downloaded jar is not the one that the lock names."""


def read_lock(lock: Path) -> list[Jar]:
    """Every jar that Kafka's class path holds, in the lock's order."""
    lines = (line.split() for line in lock.read_text().splitlines() if line and not line.startswith("#"))
    return [Jar(sha256=digest, coordinate=coordinate) for digest, coordinate in lines]


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def mirror_of_central(settings: tuple[Path, ...] = MAVEN_SETTINGS) -> str | None:
    """The machine's own mirror for Maven Central, as its Maven settings name it."""
    for path in settings:
        if not path.is_file():
            continue
        for mirror in ET.parse(path).getroot().iter():  # noqa: S314 - the machine's own configuration
            fields = {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in mirror}
            targets = [target.strip() for target in fields.get("mirrorOf", "").split(",")]
            if {"*", "central", "external:*"} & set(targets) and "!central" not in targets:
                return fields["url"].rstrip("/")
    return None


def maven() -> MavenContext:
    """A Maven context that keeps its cache inside the project and honours the machine's mirror."""
    mirror = mirror_of_central()
    return MavenContext(
        resolver=PythonResolver(),
        repo_cache=DOWNLOADS / "maven",
        remote_repos={"central": mirror} if mirror else None,
        timeout=TIMEOUT_S,
    )


def download(context: MavenContext, coordinate: str) -> Path:
    """Path of the artifact in the project's Maven cache, fetched if it is not there."""
    group, artifact, version = coordinate.split(":")
    return Path(context.project(group, artifact).at_version(version).artifact().resolve())


def install_jar(context: MavenContext, jar: Jar, folder: Path) -> None:
    """Put one verified jar into `folder`; a damaged cache entry is fetched once more, then refused.

    Raises `JarMismatch` when the bytes that Maven gives are not those of the lock.
    """
    for _ in range(2):
        cached = download(context, jar.coordinate)
        if sha256_of(cached) == jar.sha256:
            part = folder / f".{jar.filename}.part"
            part.write_bytes(cached.read_bytes())
            part.replace(folder / jar.filename)
            return
        cached.unlink()
    raise JarMismatch(
        f"{jar.coordinate} does not have the SHA-256 that {LOCK.name} names; it was not installed"
    )


def install(folder: Path = KAFKA_JARS, lock: Path = LOCK) -> int:
    """Make `folder` hold exactly the jars of the lock; returns their number."""
    jars = read_lock(lock)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {jar.filename for jar in jars}
    for stray in folder.iterdir():
        if stray.name not in wanted:
            stray.unlink()
    missing = [
        j for j in jars if not (folder / j.filename).is_file() or sha256_of(folder / j.filename) != j.sha256
    ]
    context = maven()
    with ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool:
        list(pool.map(lambda jar: install_jar(context, jar, folder), missing))
    return len(jars)


def relock() -> int:
    """Resolve the roots again and rewrite the lock; returns the number of jars."""
    context = maven()
    coordinates: set[str] = set()
    for root in ROOTS:
        inputs, transitive = context.resolver.resolve([context.create_dependency(root)])
        coordinates |= {f"{d.groupId}:{d.artifactId}:{d.version}" for d in (*inputs, *transitive)}
    lines = [f"{sha256_of(download(context, c))}  {c}" for c in sorted(coordinates)]
    note = "# Kafka's class path; rewrite with python -m infra.local.kafka_jars --relock"
    LOCK.write_text("\n".join((note, *lines, "")))
    return len(lines)


def main(argv: list[str]) -> int:
    """Command line: install, or relock with `--relock`."""
    try:
        count = relock() if "--relock" in argv else install()
    except JarMismatch as error:
        print(error, file=sys.stderr)
        return 1
    print(f"kafka: {count} jars")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
