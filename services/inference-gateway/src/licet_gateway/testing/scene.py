"""One gateway with everything around it, and a caller who may call every test model."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from licet_kit.testing.topics import Topics
from licet_schemas.licet.usage.v1.usage_pb2 import UsageRecorded

from licet_gateway.testing.gateways import (
    TOPICS,
    Announcer,
    GatewayProcess,
    UsageTopic,
    announcer,
    environment,
    is_marker,
    running,
    usage_topic,
)
from licet_gateway.testing.keys import ApiKey, api_key
from licet_gateway.testing.licensing import Right, ScriptedLicensing, scripted_licensing
from licet_gateway.testing.loaded import LoadedModel
from licet_gateway.testing.wire import Response

RULES = {
    "identity": "request",
    "echo": "rows:INPUT0",
    "rows": "rows:X",
    "counted": "rows:X",
    "counted-stream": "output_tokens",
    "gated": "request",
    "stream": "request",
    "talker": "output_tokens",
    "vectors": "input_tokens",
}
SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    "talker": {
        "task": "text-generation",
        "limits": {"max_batch": 1, "max_input_tokens": 1000, "max_output_tokens": 100},
        "tokens_beyond_bytes": 8,
        "chat": {"fixed": 8, "per_message": 8},
    },
    "vectors": {
        "task": "text-embedding",
        "limits": {"max_batch": 16, "max_input_tokens": 1000, "dimensions": 3},
        "tokens_beyond_bytes": 8,
        "chat": None,
    },
}


@dataclass
class Scene:
    """What a test holds in its hands: a gateway, and one caller of it. Records are those of this caller's leases."""

    gateway: GatewayProcess
    licensing: ScriptedLicensing
    announce: Announcer
    topic: UsageTopic
    key: ApiKey
    rights: dict[str, Right]
    models: Mapping[str, LoadedModel]

    def visitor(self) -> Scene:
        """Another caller of the same gateway, with rights that no other test touches."""
        key = api_key(secrets.randbits(200))
        return replace(self, key=key, rights=_rights(self.licensing, key, self.models))

    @property
    def grant_id(self) -> str:
        """The license on which the caller's rights rest."""
        return self.rights["rows"].grant_id

    @property
    def lease_ids(self) -> set[str]:
        """Leases that this caller was lent."""
        mine = {id(right) for right in self.rights.values()}
        return {lease_id for lease_id, lent in self.licensing.leases.items() if id(lent.right) in mine}

    @property
    def records(self) -> list[UsageRecorded]:
        """All records of the caller's leases, in the order in which they came."""
        mine = self.lease_ids
        return [record for record in self.topic.records if record.lease_id in mine]

    @property
    def calls(self) -> list[UsageRecorded]:
        """Records of calls, each once; markers that only end a lease are not calls."""
        return list({r.request_id: r for r in self.records if not is_marker(r)}.values())

    @property
    def units(self) -> int:
        return sum(record.units for record in self.calls)

    def record_of(self, response: Response) -> UsageRecorded:
        """The record of an answered call. Raises StopIteration while there is none."""
        name = response.headers["x-licet-request-id"]
        return next(record for record in self.topic.records if record.request_id == name)


@asynccontextmanager
async def scene(
    servers: Mapping[str, Any],
    models: Mapping[str, LoadedModel],
    folder: Path,
    *,
    start: bool = True,
    kafka: str = "",
    triton: str = "",
    own_models: Mapping[str, LoadedModel] | None = None,
    topics: bool = True,
    **more: str,
) -> AsyncIterator[Scene]:
    """Builds it under a topic prefix of its own; `kafka`, `triton` and `own_models` replace what is shared."""
    bootstrap = kafka or servers["kafka"]["bootstrap"]
    models = own_models or models
    where = triton or servers["triton"]["http"]
    prefix = f"gw{secrets.token_hex(5)}."
    async with AsyncExitStack() as stack:
        licensing = await stack.enter_async_context(scripted_licensing())
        settings = environment(
            kafka=bootstrap,
            prefix=prefix,
            tritons=[where],
            triton_grpc=[servers["triton"]["grpc"]],
            licensing_port=licensing.port,
            folder=folder,
            **more,
        )
        made = Topics(bootstrap, prefix)
        if topics:
            await made.create(*TOPICS)
            stack.push_async_callback(made.delete_all)
        announce = await stack.enter_async_context(announcer(settings))
        usage = UsageTopic()
        if topics:
            usage = await stack.enter_async_context(usage_topic(bootstrap, prefix))
            for kind, model in models.items():
                await announce.version(model, rule=_rule(kind, model), triton=where, schema=SCHEMAS.get(kind))
        gateway = GatewayProcess(settings, folder / "gateway.log")
        if start:
            gateway = await stack.enter_async_context(running(settings, folder / "gateway.log"))
        key = api_key(1)
        yield Scene(gateway, licensing, announce, usage, key, _rights(licensing, key, models), models)


def _rule(kind: str, model: LoadedModel) -> str:
    return model.rule or RULES[kind]


def _rights(licensing: ScriptedLicensing, key: ApiKey, models: Mapping[str, LoadedModel]) -> dict[str, Right]:
    grant_id = f"31337:0x00000000000000000000000000000000000000aa:{secrets.randbits(64)}:0"
    return {
        kind: licensing.allow(
            key.digest, Right(model.slug, model.version_digest, _rule(kind, model), grant_id=grant_id)
        )
        for kind, model in models.items()
    }
