"""What a worker follows: revocations, and which versions are ready. Both are read whole by every worker."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from licet_kit.kafka import Fanout, Message, protobuf
from licet_kit.logs import get_logger
from licet_schemas.licet.licensing.v1.licensing_pb2 import GrantRevoked
from licet_schemas.licet.vault.v1.vault_pb2 import VersionStateChanged

from licet_gateway.dataplane.clock import SECOND
from licet_gateway.dataplane.openai.bounds import text_model
from licet_gateway.dataplane.plane import DataPlane
from licet_gateway.dataplane.revocations import KEPT_NS
from licet_gateway.dataplane.versions import VersionState
from licet_gateway.domain import TokenCaps
from licet_gateway.settings import GatewaySettings, normal_url

log = get_logger(__name__)

# Where an announcement does not say how many tokens a text may have beyond its bytes.
TOKENS_BEYOND_BYTES: Final = 64


class Followers:
    """The two readers of a worker. The plane admits nothing before both have caught up once.

    Afterwards an outage of Kafka does not stop it: what a revocation would have told, a lease's time limit enforces.
    """

    def __init__(self, settings: GatewaySettings, plane: DataPlane) -> None:
        self._plane = plane
        self._revocations = Fanout(
            settings,
            topic="licensing.revocation",
            decode=protobuf(GrantRevoked),
            handler=self._on_revocation,
            back_s=KEPT_NS / SECOND,
            prompt=True,
        )
        self._versions = Fanout(
            settings,
            topic="vault.version",
            decode=protobuf(VersionStateChanged),
            handler=self._on_version,
            back_s=None,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Reads until `stop` is set."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._revocations.run(stop))
            group.create_task(self._versions.run(stop))
            opening = group.create_task(self._open())
            await stop.wait()
            opening.cancel()

    async def _open(self) -> None:
        await self._revocations.wait_caught_up()
        await self._versions.wait_caught_up()
        self._plane.caught_up = True
        log.info("worker.caught_up")

    async def _on_revocation(self, message: Message[GrantRevoked]) -> None:
        value = message.value
        killed = self._plane.book.revoke(value.grant_id, value.minimum_generation, value.code)
        self._plane.counters.revoked(killed)
        if killed:
            log.info("grant.revoked", grant_id=value.grant_id, code=value.code, leases=killed)

    async def _on_version(self, message: Message[VersionStateChanged]) -> None:
        value = message.value
        self._plane.versions.apply(
            VersionState(
                slug=value.slug,
                version_digest=value.version_digest,
                triton=normal_url(value.triton_url),
                ready=value.state == "ready",
                metering_rule=value.metering_rule,
                ordinal=value.version,
                **interface_of(value.schema_json),
            )
        )
        log.info("version.changed", slug=value.slug, version_digest=value.version_digest, state=value.state)


def interface_of(schema_json: str) -> dict[str, Any]:
    """A version's token caps, and what it is asked as a text model; what an announcement does not say is empty."""
    schema = json.loads(schema_json or "{}")
    limits = schema.get("limits") or {}
    # An embedding's cap is that of one text, and what it counts are the tokens of all texts together.
    texts = max(1, int(limits.get("max_batch", 1))) if "dimensions" in limits else 1
    # What a chat's template writes around messages may be longer than these.
    beyond = (
        None if schema.get("chat") else texts * int(schema.get("tokens_beyond_bytes", TOKENS_BEYOND_BYTES))
    )
    caps = TokenCaps(
        texts * int(limits.get("max_input_tokens", 0)), int(limits.get("max_output_tokens", 0)), beyond
    )
    return {"caps": caps, "text": text_model(schema_json)}
