"""pip's configuration in the words of the other installers: uv reads no pip.conf and no PIP_* variable, and a
certificate or proxy that pip needs is needed by Maven's resolver and npm too. Standard library only.
"""

from __future__ import annotations

import ast
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
}


# The same two settings under the names that requests, node and their like read.
SHARED_NAMES = {"SSL_CERT_FILE": ("REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"), "ALL_PROXY": ("HTTPS_PROXY",)}


def network_environment(python: str) -> dict[str, str]:
    """The environment for installers: ours, and for what it does not set, what pip on this machine is told."""
    listed = subprocess.run(
        [python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    found = {**translate(listed.stdout), **os.environ}
    shared = {
        name: found[source] for source, names in SHARED_NAMES.items() if source in found for name in names
    }
    return {**shared, **found}


def translate(pip_config: str) -> dict[str, str]:
    """uv's variables for the output of `pip config list`, where the environment goes before the files."""
    found: dict[str, str] = {}
    for line in sorted(pip_config.splitlines(), key=_weight):
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        if key in UV_NAMES:
            found[UV_NAMES[key]] = _plain(value)
    return _usable(found)


def _weight(line: str) -> int:
    """Lines applied later win: a command's own section over the global one, the environment over both."""
    section = line.partition("=")[0].rpartition(".")[0]
    return {"global": 0, ":env:": 2}.get(section, 1)


def _plain(value: str) -> str:
    text = str(ast.literal_eval(value)) if value[:1] in "'\"" else value
    return " ".join(text.split())


def _usable(found: Mapping[str, str]) -> dict[str, str]:
    """Without link folders that are not there: pip only warns of them, uv stops."""
    links = [link for link in found.get("UV_FIND_LINKS", "").split() if "://" in link or Path(link).is_dir()]
    rest = {name: value for name, value in found.items() if name != "UV_FIND_LINKS"}
    return {**rest, "UV_FIND_LINKS": ",".join(links)} if links else rest
