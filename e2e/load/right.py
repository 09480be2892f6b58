"""What a call of the gateway needs, bought and made through the SDK, and the calls' records read back."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from licet_schemas import manifest as manifests
from licet_schemas.licet.usage.v1 import usage_pb2
from licet_sdk.chain import PlanOffer

from e2e import observe
from e2e.demo import books, calls, story
from e2e.demo.steps import Notes
from e2e.observe import eventually
from e2e.world import World
from examples.models.bench_identity.build import MANIFEST

# `generate_stream` takes tensors of one dimension. The vault builds no model that answers in parts, so that what is
# streamed is one event.
VECTORS = {"inputs": "INPUT0", "outputs": "OUTPUT0"}
UNITS = 10_000_000_000
# Usage reaches Kafka within a second of its answer; this is generous.
SHIPPED_S = 3.0
RECORDED_S = 120.0


@dataclass(frozen=True, slots=True)
class Right:
    """A model that serves, a license to call it, and the key of its holder."""

    asset_id: str
    key: str
    model: str
    pinned: str


def prepare(world: World, notes: Notes) -> tuple[Right, Right]:
    """Licenses of one buyer whose units outlast every case: to bench.identity, and to the same model of vectors."""
    books.fund(world, world.actor("buyer").address, story.FUNDS)
    calls.make_key(world, notes, "buyer")
    tensors = {side: [{"name": name, "datatype": "FP32", "shape": [-1]}] for side, name in VECTORS.items()}
    key = notes["buyer_key"]
    return (
        _buy(world, "bench/identity", MANIFEST, key),
        _buy(world, "bench/vector", {**MANIFEST, "name": "vector", **tensors}, key),
    )


def _buy(world: World, slug: str, manifest: dict[str, Any], key: str) -> Right:
    folder = Path(world.endpoints["chains_file"]).parent / slug.replace("/", "-")
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_bytes(manifests.canonical(manifest))
    publisher = world.client("publisher")
    digest, _ = publisher.vault.upload(folder)
    asset_id, _ = publisher.chain.register_asset(slug)
    publisher.chain.publish_version(asset_id, digest, f"{world.config.vault}/v1/manifests/{digest}")
    plan, _ = publisher.chain.create_plan(asset_id, _offer(world))
    world.client("buyer").chain.buy(plan)
    model = slug.replace("/", ".")
    return Right(asset_id, key, model, f"{model}-{digest[2:18]}")


def _offer(world: World) -> PlanOffer:
    return PlanOffer(
        price=1,
        period_s=86_400,
        included_units=UNITS,
        optimistic_units=UNITS,
        unit_price=0,
        metering_rule="request",
        requests_per_s=1_000_000,
        server=world.actor("operator").address,
        terms_digest=books.digest_of(story.TERMS),
    )


@dataclass(slots=True)
class Usage:
    """Charged calls of some assets in the usage log, from where it was last settled."""

    world: World
    asset_ids: frozenset[str]
    _offsets: dict[int, int] = field(default_factory=dict)
    _ids: set[str] = field(default_factory=set)

    def settle(self) -> None:
        """Waits until no more records come, and forgets those that came: they are an earlier case's."""
        count = -1
        while (now := self._read()) != count:
            count = now
            time.sleep(SHIPPED_S)
        self._ids.clear()

    def confirm(self, answered: int, dropped: int) -> int:
        """Records since, once they cover all answers; raises AssertionError where there are too few or too many.

        A load tool counts no answer that it is still reading at the end of a run: `dropped` at most.
        """
        found = eventually(
            lambda: count if (count := self._read()) >= answered else None,
            f"every one of {answered} answers is in the usage log",
            RECORDED_S,
        )
        self._settled(found)
        assert len(self._ids) <= answered + dropped, f"{len(self._ids)} records of {answered} answers"
        return len(self._ids)

    def _settled(self, count: int) -> None:
        while True:
            time.sleep(SHIPPED_S)
            if (now := self._read()) == count:
                return
            count = now

    def _read(self) -> int:
        bootstrap = self.world.endpoints["kafka"]["bootstrap"]
        records, self._offsets = observe.topic_since(
            bootstrap, "usage.recorded", usage_pb2.UsageRecorded, self._offsets
        )
        self._ids.update(r.request_id for r in records if r.asset_id in self.asset_ids and r.units)
        return len(self._ids)
