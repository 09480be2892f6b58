"""Where an installation is and who calls: from arguments, the environment, or a local stack's endpoints file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from licet_sdk.errors import ConfigError

ENDPOINTS_FILE = Path(".local/endpoints.json")
_URLS = ("gateway", "licensing", "indexer", "billing", "vault")
# Who has each credential; the local stack's own are in the files that its endpoints file names.
_CREDENTIALS = {
    "private_key": "the wallet's, 32 bytes of hex",
    "api_key": "`licet key create` makes one",
    "session": "the answer to a login",
    "operator_token": f"the local stack's is the file at operator_token_file in {ENDPOINTS_FILE}",
}


@dataclass(frozen=True, slots=True)
class Config:
    """Addresses and credentials of one caller.

    `gateway` may list several replicas; calls go to the first, `Client.infer` takes `replica` to choose another.
    Secrets are never printed: their fields are left out of the repr by `__repr__`.
    """

    gateway: tuple[str, ...] = ()
    licensing: str = ""
    indexer: str = ""
    billing: str = ""
    vault: str = ""
    chains_file: str = ""
    private_key: str = ""
    api_key: str = ""
    session: str = ""
    operator_token: str = ""
    # Admin URL of each service by name, where the endpoints file tells it: a local stack's does.
    admin: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Config(gateway={self.gateway}, licensing={self.licensing!r}, indexer={self.indexer!r})"

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Config:
        """Reads LICET_* variables over the endpoints file named by LICET_ENDPOINTS, or the local stack's.

        LICET_GATEWAY_URL (comma-separated), LICET_{LICENSING,INDEXER,BILLING,VAULT}_URL, LICET_CHAINS_FILE, and
        LICET_PRIVATE_KEY, LICET_API_KEY, LICET_SESSION, LICET_OPERATOR_TOKEN, each also with `_FILE`.
        Raises ConfigError when a named file cannot be read.
        """
        env = os.environ if environ is None else environ
        config = _from_endpoints(
            Path(env.get("LICET_ENDPOINTS", ENDPOINTS_FILE)), named="LICET_ENDPOINTS" in env
        )
        if urls := env.get("LICET_GATEWAY_URL"):
            config = replace(
                config, gateway=tuple(u.strip().rstrip("/") for u in urls.split(",") if u.strip())
            )
        for name in _URLS[1:]:
            if url := env.get(f"LICET_{name.upper()}_URL"):
                admin = {service: at for service, at in config.admin.items() if service != name}
                config = replace(config, admin=admin, **_field(name, url.rstrip("/")))
        if path := env.get("LICET_CHAINS_FILE"):
            config = replace(config, chains_file=path)
        for name in _CREDENTIALS:
            if value := _secret(env, f"LICET_{name.upper()}"):
                if not (value.isascii() and value.isprintable()):
                    raise ConfigError(
                        "config_invalid",
                        f"LICET_{name.upper()} holds characters that no credential has",
                        "copy it again: letters, digits and ASCII signs alone",
                    )
                config = replace(config, **_field(name, value))
        return config

    def require(self, name: str) -> str:
        """The value of a setting; raises ConfigError that names the variable to set when it is empty."""
        value = self.gateway[0] if name == "gateway" and self.gateway else getattr(self, name)
        if not value:
            variable = f"LICET_{name.upper()}" + ("_URL" if name in _URLS else "")
            raise ConfigError(
                "config_missing",
                f"{name.replace('_', ' ')} is not configured",
                f"set {variable} or {variable}_FILE: {_CREDENTIALS[name]}"
                if name in _CREDENTIALS
                else f"set {variable}, or run `make up` so that the local stack writes {ENDPOINTS_FILE}",
            )
        return str(value)


def _field(name: str, value: str) -> dict[str, Any]:
    return {name: value}


def _secret(env: Mapping[str, str], name: str) -> str:
    if value := env.get(name):
        return value
    path = env.get(f"{name}_FILE")
    if not path:
        return ""
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise ConfigError("config_invalid", f"{name}_FILE: {error}", "name a readable file") from error


def _from_endpoints(path: Path, *, named: bool) -> Config:
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError as error:
        if named:
            raise ConfigError(
                "config_invalid", f"no endpoints file at {path}", "run `make up` first"
            ) from error
        return Config()
    except (OSError, ValueError) as error:
        raise ConfigError("config_invalid", f"{path}: {error}", "run `make up` again") from error
    try:
        gateways = tuple(g["http"] for g in data.get("gateways", []))
        urls = {name: data.get(name, {}).get("http", "") for name in _URLS[1:]}
        admin = {name: data[name]["admin"] for name in _URLS[1:] if data.get(name, {}).get("admin")}
        return Config(gateway=gateways, chains_file=data.get("chains_file", ""), admin=admin, **urls)
    except (AttributeError, KeyError, TypeError) as error:
        raise ConfigError(
            "config_invalid", f"{path} is no endpoints file", "run `make up` again, or name another"
        ) from error
