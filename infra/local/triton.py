"""NVIDIA Triton as bundled in a wheel, with models in memory only and loaded on command only."""

from __future__ import annotations

import os
import shutil
import sysconfig
import tempfile
from pathlib import Path

from infra.local.errors import LocalError
from infra.local.part import Part, http_ok
from infra.local.paths import TRITON, TRITON_VENV
from infra.local.ports import LOOPBACK, Ports

SERVER = TRITON / "pytriton" / "tritonserver"
MIB = 1024 * 1024
MEMORY_FILESYSTEMS = ("tmpfs", "ramfs")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory is on Linux
EXIT_TIMEOUT_S = 5
# Each model's shared memory starts at this size and grows; the default of 1 MiB per region is enough here.
SHM_BYTES = MIB


class NoMemoryFilesystem(LocalError):
    """There is nowhere to put weights without writing them to a disk."""


def memory_folder(profile: str) -> Path:
    """A new folder, mode 0700, on a memory-backed file system: plaintext weights never reach a disk."""
    for base in _memory_filesystems():
        if os.access(base, os.W_OK | os.X_OK):
            return Path(tempfile.mkdtemp(prefix=f"licet-{profile}-", dir=base))  # mkdtemp creates it 0700
    raise NoMemoryFilesystem(
        "no writable memory file system at /dev/shm or XDG_RUNTIME_DIR for model weights"
    )


def _memory_filesystems() -> list[Path]:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    in_memory = {fields[1] for fields in mounts if fields[2] in MEMORY_FILESYSTEMS}
    wanted = ["/dev/shm", os.environ.get("XDG_RUNTIME_DIR", "")]  # noqa: S108 - mkdtemp makes the folder private
    return [Path(path) for path in wanted if path in in_memory]


def triton(memory: Path, ports: Ports) -> Part:
    """Triton with an empty repository below `memory`; its own Python packages, numpy 1 among them."""
    repository = memory / "models"
    flags = {
        "model-repository": repository,
        "model-control-mode": "explicit",
        "backend-directory": SERVER / "backends",
        "cache-directory": SERVER / "caches",
        "http-address": LOOPBACK,
        "grpc-address": LOOPBACK,
        "metrics-address": LOOPBACK,
        "http-port": ports["http"],
        "grpc-port": ports["grpc"],
        "metrics-port": ports["metrics"],
        "exit-timeout-secs": EXIT_TIMEOUT_S,
        "backend-config": f"python,shm-default-byte-size={SHM_BYTES}",
    }
    return Part(
        name="triton",
        argv=(
            str(SERVER / "bin/tritonserver"),
            *(f"--{flag}={value}" for flag, value in flags.items()),
            f"--backend-config=python,shm-growth-byte-size={SHM_BYTES}",
            f"--backend-config=python,shm-region-prefix-name={_region_prefix(memory)}",
        ),
        ports=ports,
        probe=lambda: http_ok(ports["http"], "/v2/health/ready"),
        env=_environment(),
        prepare=lambda: _prepare(memory, repository),
        cwd=memory,
    )


def remove_memory(memory: Path | None) -> None:
    """Forget the weights, and the tensors that a killed back end left in shared memory."""
    if memory is not None:
        shutil.rmtree(memory, ignore_errors=True)
        _remove_regions(memory)


def _prepare(memory: Path, repository: Path) -> None:
    repository.mkdir(mode=0o700, exist_ok=True)
    _remove_regions(memory)


def _region_prefix(memory: Path) -> str:
    """Name under which this stack's back ends keep tensors in shared memory: ours to find again."""
    return f"{memory.name}-tensors-"


def _remove_regions(memory: Path) -> None:
    for region in SHARED_MEMORY.glob(f"{_region_prefix(memory)}*"):
        region.unlink(missing_ok=True)


def _environment() -> dict[str, str]:
    """Environment of the server and of the back end's stub process.

    The stub embeds this Python from its shared library, ignores PYTHONPATH, and takes the site of whichever
    `python3` comes first in PATH: the venv of its own, in which numpy is older than 2.
    """
    libraries = [str(TRITON / "nvidia_pytriton.libs"), str(sysconfig.get_config_var("LIBDIR"))]
    return {
        "LD_LIBRARY_PATH": ":".join(libraries),
        "PATH": f"{TRITON_VENV / 'bin'}:{os.environ.get('PATH', '')}",
    }
