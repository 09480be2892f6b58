"""The shared test servers: found by their endpoints file, started when they do not answer."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ENDPOINTS = Path(".local/test/endpoints.json")
# The first start installs servers; later ones take seconds.
START_TIMEOUT_S = 900
CONNECT_TIMEOUT_S = 2.0


def repository_root(start: Path) -> Path:
    """Return the folder above `start` that holds the whole repository."""
    for folder in (start, *start.parents):
        if (folder / "libs" / "kit").is_dir() and (folder / "pyproject.toml").is_file():
            return folder
    raise FileNotFoundError(f"{start} is not inside the repository")


def running_servers(root: Path) -> dict[str, Any]:
    """Return the endpoints of servers that answer, after starting them if they did not."""
    path = root / ENDPOINTS
    servers = _read(path)
    if not servers or not all(_answers(address) for address in _addresses(servers)):
        subprocess.run(
            [sys.executable, "-m", "infra.local", "up", "--profile", "test", "--detach"],
            cwd=root,
            check=True,
            timeout=START_TIMEOUT_S,
            stdout=subprocess.DEVNULL,
        )
        servers = _read(path)
    if not servers:
        raise FileNotFoundError(f"the test servers wrote no {ENDPOINTS}")
    return servers


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return found


def _addresses(servers: dict[str, Any]) -> list[tuple[str, int]]:
    urls = [servers["postgres"]["url"], servers["redis"]["url"], f"kafka://{servers['kafka']['bootstrap']}"]
    parts = [urlsplit(url) for url in urls]
    return [(part.hostname or "127.0.0.1", part.port or 0) for part in parts]


def _answers(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, CONNECT_TIMEOUT_S):
            return True
    except OSError:
        return False
