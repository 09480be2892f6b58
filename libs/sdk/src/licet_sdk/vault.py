"""Uploads a model's artefacts and manifest."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

from licet_schemas import manifest as manifests

from licet_sdk.config import Config
from licet_sdk.errors import ConfigError
from licet_sdk.http import Service


class Vault:
    """The model-vault's REST API, as the signed-in publisher."""

    def __init__(self, config: Config, session: str = "") -> None:
        token = session or config.session or config.api_key or config.require("session")
        self._service = Service("model-vault", config.require("vault")).authorize(token)

    def close(self) -> None:
        """Closes pooled connections."""
        self._service.close()

    def upload(self, folder: Path) -> tuple[str, dict[str, Any]]:
        """Uploads every artefact that `folder`/manifest.json names, then the manifest; returns (digest, manifest).

        Repeating it is harmless. Raises ConfigError where a file does not match the manifest.
        """
        path = folder / "manifest.json"
        try:
            manifest = manifests.parse(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigError(
                "manifest_invalid", f"{path}: {error}", "mend the manifest, then try again"
            ) from error
        for artifact in manifest.artifacts:
            try:
                content = (folder / artifact.name).read_bytes()
            except OSError as error:
                raise ConfigError(
                    "artifact_missing", str(error), "put the files that the manifest names beside it"
                ) from error
            digest = "0x" + sha256(content).hexdigest()
            if digest != artifact.sha256:
                raise ConfigError(
                    "digest_mismatch",
                    f"{artifact.name} has sha256 {digest}, the manifest says {artifact.sha256}",
                    "make the manifest anew from these files",
                )
            self._service.put_bytes(f"/v1/artifacts/{digest}", content)
        answer = self._service.post("/v1/manifests", manifest.model_dump(mode="json"))
        return str(answer["digest"]), manifest.model_dump(mode="json")

    def versions(self) -> list[dict[str, Any]]:
        """The versions that this vault keeps in Triton, with their states."""
        return list(self._service.get("/v1/versions")["data"])
