"""docs/architecture/interfaces.md says what the protobuf files and the running system do."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import httpx2
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from licet_schemas.licet.billing.v1 import billing_pb2
from licet_schemas.licet.chain.v1 import chain_pb2
from licet_schemas.licet.licensing.v1 import licensing_pb2
from licet_schemas.licet.options.v1 import options_pb2
from licet_schemas.licet.usage.v1 import usage_pb2
from licet_schemas.licet.vault.v1 import vault_pb2

from e2e.scenarios.conftest import Installation
from infra.local.profile import DEFAULT_PORTS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/architecture/interfaces.md").read_text()
FILES = (billing_pb2, chain_pb2, licensing_pb2, usage_pb2, vault_pb2)


def table(heading: str) -> list[list[str]]:
    """Cells of the first table below a heading, without its head."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def topics() -> dict[str, set[str]]:
    """Topic → protobuf names, as the page says."""
    rows = [r for r in table("Topics") if not r[0].startswith("`")]
    return {r[0].split(" ")[0]: set(re.findall(r"licet\.[\w.]+", r[2])) for r in rows}


def test_the_page_lists_the_topics_of_the_protobuf_files() -> None:
    declared: dict[str, set[str]] = {}
    for file in FILES:
        for message in file.DESCRIPTOR.message_types_by_name.values():
            if topic := message.GetOptions().Extensions[options_pb2.topic]:
                declared.setdefault(topic, set()).add(message.full_name)
    assert topics() == declared


def test_the_broker_has_these_topics_and_their_parked_ones(installation: Installation) -> None:
    async def names() -> set[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=installation.world.endpoints["kafka"]["bootstrap"])
        await admin.start()
        try:
            return set(await admin.list_topics())
        finally:
            await admin.close()

    have = {n for n in asyncio.run(names()) if not n.startswith("__")}
    assert have == {t + suffix for t in topics() for suffix in ("", ".parked")}


@pytest.mark.parametrize("service", ["licensing", "indexer", "billing", "vault"])
def test_each_service_serves_its_api_and_its_admin_port(service: str, installation: Installation) -> None:
    endpoints = installation.world.endpoints[service]
    assert httpx2.get(endpoints["http"] + "/openapi.json").json()["openapi"].startswith("3.1")
    for path in ("/livez", "/readyz", "/metrics"):
        assert httpx2.get(endpoints["admin"] + path).status_code == 200, path


@pytest.mark.parametrize("number", [0, 1])
def test_each_gateway_serves_its_admin_port(number: int, installation: Installation) -> None:
    admin = installation.world.endpoints["gateways"][number]["admin"]
    for path in ("/livez", "/readyz", "/metrics"):
        assert httpx2.get(admin + path).status_code == 200, path


def test_default_ports_are_those_of_the_page() -> None:
    names = {"inference-gateway": "gateway-1", "chain-indexer": "indexer", "model-vault": "vault"}
    for process, first, also in table("Ports"):
        ports = DEFAULT_PORTS[names.get(process, process)]
        said = {int(p) for p in re.findall(r"\d+", f"{first} {also}")}
        assert set(ports.values()) == said, process
