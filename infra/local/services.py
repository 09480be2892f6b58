"""Licet's own processes: how each is started, and the schema steps before them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from infra.local.deployment import Deployment, digest
from infra.local.errors import LocalError
from infra.local.kafka import create_topics
from infra.local.keyring import GATEWAYS, Keyring
from infra.local.part import Part, Task, http_ok
from infra.local.paths import ROOT, VENV
from infra.local.ports import LOOPBACK, Ports
from infra.local.postgres import create_databases_at, database_url
from infra.local.profile import SECOND_CHAIN, Profile

PYTHON = VENV / "bin" / "python"
MIGRATION_TIMEOUT_S = 120
# What owns a database: name on the command line and folder in the repository.
DATABASE_OWNERS = {
    "indexer": "chain-indexer",
    "licensing": "licensing",
    "billing": "billing",
    "vault": "model-vault",
}
SECOND_CONTRACTS = "contracts-2"
AFTER = {
    "indexer": ("postgres", "kafka", "topics", "chain", "contracts", SECOND_CONTRACTS, "schemas"),
    "licensing": ("postgres", "kafka", "topics", "redis", "contracts", SECOND_CONTRACTS, "schemas"),
    "billing": ("postgres", "kafka", "topics", "chain", "contracts", SECOND_CONTRACTS, "schemas"),
    "vault": ("postgres", "kafka", "topics", "triton", "contracts", SECOND_CONTRACTS, "schemas"),
    **dict.fromkeys(GATEWAYS, ("kafka", "topics", "triton", "contracts", SECOND_CONTRACTS, "licensing")),
}


class SchemaFailed(LocalError):
    """A service's `migrate` ended non-zero."""


@dataclass(frozen=True, slots=True)
class Services:
    """The services of one profile, given where the servers are."""

    profile: Profile
    ports: Mapping[str, Ports]
    endpoints: Mapping[str, Any]

    @property
    def keyring(self) -> Keyring:
        """The profile's secrets."""
        return Keyring(self.profile.home / "secrets")

    @property
    def deployment(self) -> Deployment:
        """The contracts that the services work with."""
        return Deployment(
            rpc_url=self.endpoints["chain"]["rpc_url"],
            chains_file=self.profile.chains_file,
            keyring=self.keyring,
            stamp=self.profile.home / "stamps" / "contracts",
            log=self.profile.log("contracts"),
        )

    def second_deployment(self) -> Task:
        """The same contracts on the second chain. Last, because both deployments write the chains file."""
        deployment = replace(
            self.deployment,
            rpc_url=f"http://{LOOPBACK}:{self.ports[SECOND_CHAIN]['rpc']}",
            stamp=self.profile.home / "stamps" / SECOND_CONTRACTS,
            second=True,
        )
        return Task(SECOND_CONTRACTS, deployment.run, after=(SECOND_CHAIN, "contracts"))

    def tasks(self, names: Iterable[str]) -> list[Task]:
        """What has to be done before the named services start."""
        owners = [name for name in DATABASE_OWNERS if name in names]
        schemas = Task("schemas", partial(self._migrate, owners), after=("postgres", "databases"))
        return [Task("contracts", self.deployment.run, after=("chain",)), schemas, *self._for_external()]

    def _for_external(self) -> list[Task]:
        """Databases and topics on servers that run elsewhere; a local server gets its own when it starts."""
        tasks = {
            "postgres": Task("databases", lambda: create_databases_at(self.endpoints["postgres"]["url"])),
            "kafka": Task("topics", lambda: create_topics(self.endpoints["kafka"]["bootstrap"])),
        }
        return [task for server, task in tasks.items() if server in self.profile.external]

    def parts(self) -> list[Part]:
        """Every service process; `keyring.make()` has to come first."""
        return [self._part(name) for name in AFTER]

    def addresses(self) -> dict[str, Any]:
        """Where each service is, for `endpoints.json`."""
        return {
            **{name: self._urls(name) for name in AFTER if name not in GATEWAYS},
            "gateways": [self._urls(name) for name in GATEWAYS],
            "chains_file": str(self.profile.chains_file),
            "operator_token_file": str(self.keyring.path("operator.token")),
            "secrets": str(self.keyring.folder),
        }

    def _part(self, name: str) -> Part:
        module = "gateway" if name in GATEWAYS else name
        ports = self.ports[name]
        return Part(
            name=name,
            argv=(str(PYTHON), "-m", f"licet_{module}"),
            ports=ports,
            probe=lambda: http_ok(ports["admin"], "/readyz"),
            env={"PYTHONUNBUFFERED": "1", **self._environment(name, module.upper())},
            after=AFTER[name],
            cwd=self.profile.home,
        )

    def _environment(self, name: str, prefix: str) -> dict[str, str]:
        """Settings of one service: what all share, its ports, and what it alone needs."""
        own = {
            "indexer": self._indexer,
            "licensing": self._licensing,
            "billing": self._billing,
            "vault": self._vault,
        }
        listens = {f"{prefix}_{role.upper()}_PORT": str(port) for role, port in self.ports[name].items()}
        return {
            "KAFKA_BOOTSTRAP": self.endpoints["kafka"]["bootstrap"],
            "CHAINS_FILE": str(self.profile.chains_file),
            f"{prefix}_HOST": LOOPBACK,
            **listens,
            **(self._gateway(name) if name in GATEWAYS else own[name]()),
        }

    def _indexer(self) -> dict[str, str]:
        return {"DATABASE_URL": self._database("indexer")}

    def _licensing(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self._database("licensing"),
            "REDIS_URL": self.endpoints["redis"]["url"],
            "LICENSING_WORKER_TOKEN_FILE": self._secret("worker.token"),
            "LICENSING_OPERATOR": self.keyring.address("operator.key"),
        }

    def _billing(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self._database("billing"),
            "LICENSING_WORKER_TOKEN_FILE": self._secret("worker.token"),
            "BILLING_OPERATOR_KEY_FILE": self._secret("operator.key"),
            "BILLING_OPERATOR_TOKEN_FILE": self._secret("operator.token"),
            "BILLING_LICENSING_URL": self._urls("licensing")["http"],
        }

    def _vault(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self._database("vault"),
            "TRITON_URLS": self.endpoints["triton"]["http"],
            "VAULT_REPOSITORY_DIR": str(self.endpoints["triton"]["repository"]),
            "VAULT_STORE_DIR": str(self._folder("vault")),
            "VAULT_MASTER_KEY_FILE": self._secret("vault.master"),
            "VAULT_LICENSING_URL": self._urls("licensing")["http"],
            "LICENSING_WORKER_TOKEN_FILE": self._secret("worker.token"),
        }

    def _gateway(self, name: str) -> dict[str, str]:
        return {
            "TRITON_URLS": self.endpoints["triton"]["http"],
            "GATEWAY_TRITON_GRPC": self.endpoints["triton"]["grpc"],
            "GATEWAY_WORKER_ID": name,
            "GATEWAY_LICENSING_GRPC": self._urls("licensing")["grpc"],
            "GATEWAY_LOG_DIR": str(self._folder(name)),
            "GATEWAY_REPLICA_KEY_FILE": self._secret(f"{name}.key"),
            "GATEWAY_REPLICA_CERTIFICATES_FILE": self._secret(f"{name}.certificates"),
            "LICENSING_WORKER_TOKEN_FILE": self._secret("worker.token"),
        }

    def _urls(self, name: str) -> dict[str, str]:
        return {
            role: f"{LOOPBACK}:{port}" if role == "grpc" else f"http://{LOOPBACK}:{port}"
            for role, port in self.ports[name].items()
        }

    def _database(self, owner: str) -> str:
        return database_url(self.endpoints["postgres"]["url"], f"licet_{owner}")

    def _secret(self, name: str) -> str:
        return str(self.keyring.path(name))

    def _folder(self, name: str) -> Path:
        folder = self.profile.home / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _migrate(self, owners: list[str]) -> None:
        """Bring each owner's database to its newest schema, those whose migrations have changed."""
        stale = [name for name in owners if not self._has_schema(name)]
        if not stale:
            return
        pairs = [text for name in stale for text in (self._database(name), str(migrations(name)))]
        done = subprocess.run(
            [str(PYTHON), "-m", "infra.local.migrate", *pairs],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=MIGRATION_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise SchemaFailed(
                f"the schemas of {', '.join(stale)}: {(done.stderr or done.stdout).strip()[-2000:]}"
            )
        for name in stale:
            self._stamp(name).parent.mkdir(parents=True, exist_ok=True)
            self._stamp(name).write_text(self._schema_key(name))

    def _has_schema(self, name: str) -> bool:
        """Whether these very migrations ran; of a server that runs elsewhere nothing is assumed."""
        stamp = self._stamp(name)
        return (
            "postgres" not in self.profile.external
            and stamp.exists()
            and stamp.read_text() == self._schema_key(name)
        )

    def _stamp(self, name: str) -> Path:
        return self.profile.home / "stamps" / f"schema-{name}"

    def _schema_key(self, name: str) -> str:
        own = [path for path in migrations(name).rglob("*") if path.suffix in {".py", ".sql"}]
        return digest(sorted([*own, *kit_sources()]), self._database(name))


def migrations(name: str) -> Path:
    """Folder of a service's migrations."""
    return ROOT / "services" / DATABASE_OWNERS[name] / "migrations"


def kit_sources() -> list[Path]:
    """Shared tables and migration steps."""
    return list((ROOT / "libs" / "kit" / "src" / "licet_kit").glob("*.py"))
