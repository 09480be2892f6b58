"""A profile is one stack on this machine: its folder, its parts, where its ports begin."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.errors import LocalError
from infra.local.paths import LOCAL
from infra.local.ports import Ports

SERVERS = ("postgres", "redis", "kafka", "chain", "triton")
# A second chain, with the same contracts. It starts when it is named; from then on it belongs to the profile.
SECOND_CHAIN = "chain-2"
OPTIONAL = (SECOND_CHAIN,)
SERVICES = ("indexer", "licensing", "billing", "vault", "gateway-1", "gateway-2")
# In this order they stop: whoever leases or calls goes before those it calls.
STOP_WAVES = (("gateway-1", "gateway-2"), ("vault", "billing", "licensing", "indexer"), (*SERVERS, *OPTIONAL))
# `bench` and `e2e` are those of the benchmarks and the scenarios.
PROFILES = ("dev", "test", "demo", "bench", "e2e")
TEST_OFFSET = 7000  # so that tests and a stack in use have different first choices

DEFAULT_PORTS: Mapping[str, Ports] = {
    "postgres": {"sql": 15432},
    "redis": {"redis": 16379},
    "kafka": {"broker": 19092, "controller": 19093},
    "chain": {"rpc": 18545},
    SECOND_CHAIN: {"rpc": 18546},
    "triton": {"http": 18000, "grpc": 18001, "metrics": 18002},
    "gateway-1": {"http": 8000, "grpc": 8001, "admin": 9000},
    "gateway-2": {"http": 8002, "grpc": 8003, "admin": 9002},
    "licensing": {"http": 8110, "grpc": 8111, "admin": 9110},
    "indexer": {"http": 8120, "admin": 9120},
    "billing": {"http": 8130, "admin": 9130},
    "vault": {"http": 8140, "admin": 9140},
}

EXTERNAL: Mapping[str, str] = {
    "postgres": "DATABASE_URL",
    "kafka": "KAFKA_BOOTSTRAP",
    "redis": "REDIS_URL",
    "chain": "CHAIN_RPC_URL",
    "triton": "TRITON_URLS",
}
"""Settings that replace a local server by one that runs elsewhere."""
TRITON_REPOSITORY = "VAULT_REPOSITORY_DIR"
TRITON_GRPC = "GATEWAY_TRITON_GRPC"


@dataclass(frozen=True, slots=True)
class Profile:
    """Names and places of one stack. `external` maps a server's name to the address that replaces it."""

    name: str
    home: Path
    external: Mapping[str, str]
    # The folder that an external Triton loads models from.
    triton_repository: str = ""
    # And where it answers gRPC.
    triton_grpc: str = ""

    @classmethod
    def named(cls, name: str, home: Path | None = None, env: Mapping[str, str] | None = None) -> Profile:
        """The profile with its folder under `.local/` or LICET_STATE_DIR, and the external servers that `env` names.

        Raises LocalError where an external Triton is named without its gRPC service and the folder that it loads from.
        """
        settings = os.environ if env is None else env
        states = Path(settings.get("LICET_STATE_DIR", LOCAL))
        external = {part: settings[key] for part, key in EXTERNAL.items() if settings.get(key)}
        repository = settings.get(TRITON_REPOSITORY, "") if "triton" in external else ""
        grpc = settings.get(TRITON_GRPC, "") if "triton" in external else ""
        if "triton" in external and not repository:
            raise LocalError(
                f"TRITON_URLS names a Triton elsewhere: set {TRITON_REPOSITORY} to the folder that it loads from, "
                "best on a memory file system, for the vault puts verified models there"
            )
        if "triton" in external and not grpc:
            raise LocalError(
                f"TRITON_URLS names a Triton elsewhere: set {TRITON_GRPC} to its gRPC service, host:port"
            )
        return cls(
            name=name,
            home=home or states / name,
            external=external,
            triton_repository=repository,
            triton_grpc=grpc,
        )

    @property
    def default_parts(self) -> tuple[str, ...]:
        """What `up` starts when no part is named: tests bring their own services."""
        if self.name == "test":
            return SERVERS
        kept = [name for name in OPTIONAL if (self.home / name).is_dir()]
        return (*SERVERS, *kept, *SERVICES)

    @property
    def default_ports(self) -> dict[str, Ports]:
        """First choice of every part's ports."""
        offset = TEST_OFFSET if self.name == "test" else 0
        return {
            part: {role: port + offset for role, port in ports.items()}
            for part, ports in DEFAULT_PORTS.items()
        }

    @property
    def logs(self) -> Path:
        """Folder with one log per process."""
        return self.home / "logs"

    @property
    def endpoints_file(self) -> Path:
        """Addresses of the running stack; it exists while the stack is up."""
        return self.home / "endpoints.json"

    @property
    def chains_file(self) -> Path:
        """The deployment's CHAINS_FILE."""
        return self.home / "chains.json"

    def log(self, part: str) -> Path:
        """Log of one part."""
        return self.logs / f"{part}.log"


def write_json(path: Path, content: Any) -> None:
    """Replace a file in one step, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(json.dumps(content, indent=2) + "\n")
    part.replace(path)


def read_json(path: Path) -> Any | None:
    """Content of a JSON file; None if there is none."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
