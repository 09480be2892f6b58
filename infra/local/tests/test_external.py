"""Servers that run elsewhere, each named by its setting: the services work on them, and leave them as they were."""

from __future__ import annotations

from uuid import UUID

import pytest

from infra.local.errors import LocalError
from infra.local.part import http_ok
from infra.local.profile import SERVERS, SERVICES, Profile
from infra.local.tests.conftest import MakeStack


def test_services_run_on_servers_that_run_elsewhere(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = make_stack("demo")
    with monkeypatch.context() as patch:
        # A Kafka id that begins with a hyphen, as one in 64 does.
        patch.setattr("infra.local.kafka.uuid.uuid4", lambda: UUID(bytes=b"\xf8" * 16))
        elsewhere.start(["servers"])
    at = elsewhere.endpoints
    named = {
        "DATABASE_URL": at["postgres"]["url"],
        "KAFKA_BOOTSTRAP": at["kafka"]["bootstrap"],
        "REDIS_URL": at["redis"]["url"],
        "CHAIN_RPC_URL": at["chain"]["rpc_url"],
        "TRITON_URLS": at["triton"]["http"],
        "VAULT_REPOSITORY_DIR": at["triton"]["repository"],
        "GATEWAY_TRITON_GRPC": at["triton"]["grpc"],
    }
    stack = make_stack("dev", **named)

    assert stack.start() == list(SERVICES)

    assert all(http_ok(part.ports["admin"], "/readyz") for part in stack.status())
    for server, url in (("postgres", "url"), ("kafka", "bootstrap"), ("redis", "url"), ("chain", "rpc_url")):
        assert stack.endpoints[server][url] == at[server][url]
    stack.stop()
    assert {part.name: part.state for part in elsewhere.status()} == dict.fromkeys(SERVERS, "up")
    # A new chain here would meet the old one's books there.
    del named["CHAIN_RPC_URL"]
    with pytest.raises(LocalError, match="drop licet_indexer, licet_licensing, licet_billing, licet_vault"):
        make_stack("dev", **named).wipe()


def test_a_triton_elsewhere_is_refused_without_the_folder_that_it_loads_from() -> None:
    with pytest.raises(LocalError, match="set VAULT_REPOSITORY_DIR to the folder"):
        Profile.named("dev", env={"TRITON_URLS": "http://127.0.0.1:8000"})


def test_a_triton_elsewhere_is_refused_without_its_grpc_service() -> None:
    with pytest.raises(LocalError, match="set GATEWAY_TRITON_GRPC to its gRPC service"):
        Profile.named("dev", env={"TRITON_URLS": "http://127.0.0.1:8000", "VAULT_REPOSITORY_DIR": "/x"})


def test_a_chain_of_another_id_is_refused_in_one_sentence(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = make_stack("demo")
    elsewhere.start(["chain"])
    stack = make_stack("dev", CHAIN_RPC_URL=elsewhere.endpoints["chain"]["rpc_url"])
    monkeypatch.setattr("infra.local.deployment.CHAIN_ID", 1)

    with pytest.raises(LocalError, match="has id 31337: the local stack needs a development chain, 1"):
        stack.start(["indexer"])
