"""What the stack tells the services is what they ask for."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from licet_kit.db import make_engine
from licet_kit.migrations import require_head

from infra.local.part import Part, overlay
from infra.local.postgres import database_url
from infra.local.profile import OPTIONAL, SERVERS, SERVICES, STOP_WAVES, Profile
from infra.local.servers import server_endpoints
from infra.local.services import AFTER, DATABASE_OWNERS, Services, migrations
from infra.local.tests.conftest import MakeStack

CONTRACTS = (
    *("AccessManager", "Directory", "AssetRegistry", "PlanBook", "License"),
    *("LicenseSale", "UsageEscrow", "RevenueRouter", "TestUSD", "MirrorBook"),
)


@pytest.fixture
def services(tmp_path: Path) -> Services:
    """Services of a profile whose chain is written down and not running."""
    profile = Profile.named("dev", home=tmp_path, env={})
    ports = profile.default_ports
    found = Services(profile, ports, server_endpoints(profile, ports, Path("/dev/shm")))  # noqa: S108 - nothing runs
    entry = {
        "chain_id": 31337,
        "name": "local",
        "rpc_url": found.endpoints["chain"]["rpc_url"],
        "finality": {"source": "tag"},
        "contracts": {name: f"0x{number:040x}" for number, name in enumerate(CONTRACTS, 1)},
    }
    profile.chains_file.write_text(json.dumps({"chains": [entry]}))
    found.keyring.make()
    for gateway in ("gateway-1", "gateway-2"):
        found.keyring.certify(gateway, profile.chains_file)
    return found


def check_config(part: Part) -> tuple[str, int, str]:
    """Let a service judge its own configuration."""
    done = subprocess.run(
        [*part.argv, "--check-config"],
        env=overlay(os.environ, part.env),
        cwd=part.cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    return part.name, done.returncode, done.stdout + done.stderr


def test_every_service_accepts_its_configuration(services: Services) -> None:
    with ThreadPoolExecutor(2) as pool:
        refused = [answer for answer in pool.map(check_config, services.parts()) if answer[1] != 0]

    assert refused == []


def test_every_setting_that_names_a_file_names_one_of_mode_0600(services: Services) -> None:
    files = [
        value for part in services.parts() for name, value in part.env.items() if name.endswith("_KEY_FILE")
    ]

    assert len(files) == 4
    assert all(Path(file).stat().st_mode & 0o777 == 0o600 for file in files)


def test_each_replica_has_a_log_and_a_key_of_its_own(services: Services) -> None:
    one, two = (part.env for part in services.parts() if part.name.startswith("gateway"))

    for name in ("GATEWAY_LOG_DIR", "GATEWAY_REPLICA_KEY_FILE", "GATEWAY_WORKER_ID", "GATEWAY_HTTP_PORT"):
        assert one[name] != two[name]


def test_each_owner_of_a_database_is_migrated_before_it_starts(services: Services) -> None:
    tasks = {task.name for task in services.tasks(SERVICES)}

    assert tasks == {"contracts", "schemas"}
    assert all("schemas" in AFTER[name] for name in DATABASE_OWNERS)


async def test_a_migrated_database_is_one_that_its_service_accepts(
    services: Services, make_stack: MakeStack
) -> None:
    stack = make_stack()
    stack.start(["postgres"])
    found = replace(services, endpoints={**services.endpoints, "postgres": stack.endpoints["postgres"]})
    schemas = next(task for task in found.tasks(SERVICES) if task.name == "schemas")

    schemas.run()

    for name in DATABASE_OWNERS:
        engine = make_engine(database_url(stack.endpoints["postgres"]["url"], f"licet_{name}"))
        await require_head(engine, migrations(name))
        await engine.dispose()


def test_external_servers_get_databases_and_topics_too(services: Services, tmp_path: Path) -> None:
    elsewhere = {
        "DATABASE_URL": "postgresql://licet@db.example/postgres?sslmode=require",
        "KAFKA_BOOTSTRAP": "k:9092",
    }
    profile = Profile.named("dev", home=tmp_path, env=elsewhere)
    found = Services(profile, services.ports, server_endpoints(profile, services.ports, None))

    assert {"databases", "topics"} <= {task.name for task in found.tasks(SERVICES)}
    urls = {part.env["DATABASE_URL"] for part in found.parts() if "DATABASE_URL" in part.env}
    assert urls == {f"postgresql://licet@db.example/licet_{name}?sslmode=require" for name in DATABASE_OWNERS}


def test_every_part_has_its_turn_to_stop() -> None:
    assert sorted(name for wave in STOP_WAVES for name in wave) == sorted((*SERVERS, *OPTIONAL, *SERVICES))
