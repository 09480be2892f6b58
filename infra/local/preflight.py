"""What this machine lacks, one clear sentence each, before a single byte is downloaded. Standard library only."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infra.local.paths import LOCAL, ROOT

GIB = 1024**3
DISK_FIRST_GIB = 4.0  # 1.7 GiB installed, about as much in package caches, and room for data
DISK_LATER_GIB = 1.0
OLDEST_GLIBC = (2, 35)  # Triton's wheel is built for it
# Triton's wheel has a back end stub for each of these, and numpy 1, which the stub needs, has a wheel.
TRITON_PYTHONS = ((3, 11), (3, 12))


@dataclass(frozen=True, slots=True)
class Machine:
    """The facts that the checks look at."""

    system: str
    cpu: str
    python: tuple[int, int]
    glibc: tuple[int, int] | None
    shared_python: bool
    modules: frozenset[str]
    programs: frozenset[str]
    free_gib: float
    installed: bool

    @classmethod
    def this(cls) -> Machine:
        """The machine that runs us."""
        return cls(
            system=platform.system(),
            cpu=platform.machine(),
            python=sys.version_info[:2],
            glibc=_glibc(),
            shared_python=_loads_shared_python(),
            modules=frozenset(name for name in ("venv", "ensurepip") if importlib.util.find_spec(name)),
            programs=frozenset(name for name in ("make",) if shutil.which(name)),
            free_gib=shutil.disk_usage(ROOT).free / GIB,
            installed=(LOCAL / "stamps").is_dir(),
        )


def complaints(machine: Machine) -> list[str]:
    """One sentence for each thing that is missing; empty if the machine will do."""
    checks: tuple[Callable[[Machine], str | None], ...] = (
        _platform,
        _python,
        _shared_python,
        _venv,
        _make,
        _disk,
    )
    return [sentence for check in checks if (sentence := check(machine))]


def _platform(m: Machine) -> str | None:
    if (m.system, m.cpu) != ("Linux", "x86_64"):
        return f"the local stack runs on Linux x86-64 only, and this is {m.system} {m.cpu}."
    if m.glibc is None or m.glibc < OLDEST_GLIBC:
        have = "no glibc" if m.glibc is None else f"glibc {_dotted(m.glibc)}"
        return (
            f"Triton needs glibc {_dotted(OLDEST_GLIBC)} or newer (Debian 12, Ubuntu 22.04); this is {have}."
        )
    return None


def _python(m: Machine) -> str | None:
    if m.python in TRITON_PYTHONS:
        return None
    choices = " or ".join(f"PYTHON=python{_dotted(version)}" for version in TRITON_PYTHONS)
    return f"Triton's Python back end has no stub for Python {_dotted(m.python)}: run make with {choices}."


def _shared_python(m: Machine) -> str | None:
    if m.shared_python:
        return None
    name = f"libpython{_dotted(m.python)}"
    return f"Triton's Python back end needs the shared library {name}.so.1.0: on Debian or Ubuntu, apt install {name}."


def _venv(m: Machine) -> str | None:
    if {"venv", "ensurepip"} <= m.modules:
        return None
    name = f"python{_dotted(m.python)}-venv"
    return f"this Python cannot create virtual environments: on Debian or Ubuntu, apt install {name}."


def _make(m: Machine) -> str | None:
    return None if "make" in m.programs else "make is missing: on Debian or Ubuntu, apt install make."


def _disk(m: Machine) -> str | None:
    needed = DISK_LATER_GIB if m.installed else DISK_FIRST_GIB
    if m.free_gib >= needed:
        return None
    return f"{needed:.0f} GiB of disk are needed at {ROOT}, and {m.free_gib:.1f} GiB are free."


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(str(part) for part in version)


def _glibc() -> tuple[int, int] | None:
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return None
    numbers = text.removeprefix("glibc ").split(".")[:2]
    return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 else None


def _loads_shared_python() -> bool:
    """Whether the loader finds the library where Triton is told to look, or where it looks by itself."""
    name = f"libpython{_dotted(sys.version_info[:2])}.so.1.0"
    for candidate in (Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib") / name, Path(name)):
        try:
            ctypes.CDLL(str(candidate))
        except OSError:
            continue
        return True
    return False
