"""The test models in a real Triton, under pinned names that no other test run has."""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from licet_gateway.domain import pinned_name

SOURCES = Path(__file__).parent / "models"
LOAD_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One model version as the vault would have loaded it; `rule` and `limits` are its manifest's, if stated."""

    slug: str
    version_digest: str
    folder: Path
    triton: str
    rule: str = ""
    limits: Mapping[str, int] = field(default_factory=dict)

    @property
    def public_name(self) -> str:
        return self.slug.replace("/", ".")

    @property
    def pinned(self) -> str:
        return pinned_name(self.slug, self.version_digest)

    def open_gate(self, number: int) -> None:
        """Lets the gated model answer the call with this number."""
        (self.folder / "1" / f"gate-{number}").touch()

    def reached(self, number: int) -> bool:
        """Whether the call with this number is inside the gated model."""
        return (self.folder / "1" / f"at-{number}").exists()


@contextmanager
def loaded(
    kind: str, *, triton: str, repository: Path, like: LoadedModel | None = None
) -> Iterator[LoadedModel]:
    """Loads one of the test models, under the name of `like` where that is given; unloads and removes it afterwards."""
    digest = "0x" + secrets.token_hex(32) if like is None else like.version_digest
    slug = f"gw{secrets.token_hex(4)}/{kind}" if like is None else like.slug
    name = pinned_name(slug, digest)
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    shutil.copy(SOURCES / f"{kind}.pbtxt", folder / "config.pbtxt")
    # `counted-stream` is `counted` with another configuration.
    shutil.copy(SOURCES / f"{kind.partition('-')[0]}.py", folder / "1" / "model.py")
    try:
        command(triton, f"/v2/repository/models/{name}/load")
        yield LoadedModel(slug, digest, folder, triton)
    finally:
        with contextlib.suppress(OSError, RuntimeError):
            command(triton, f"/v2/repository/models/{name}/unload")
        shutil.rmtree(folder, ignore_errors=True)


def command(triton: str, path: str) -> None:
    """POSTs a command of the repository API. Raises RuntimeError with Triton's reason."""
    connection = http.client.HTTPConnection(urlsplit(triton).netloc, timeout=LOAD_TIMEOUT_S)
    with contextlib.closing(connection):
        connection.request("POST", path, body=json.dumps({}))
        response = connection.getresponse()
        text = response.read().decode()
    if response.status != 200:
        raise RuntimeError(f"{path}: {response.status} {text}")
