"""One gateway with everything around it, and a caller who may call every test model."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from licet_kit.testing.topics import Topics

from licet_gateway.testing.gateways import (
    TOPICS,
    Announcer,
    GatewayProcess,
    UsageTopic,
    announcer,
    environment,
    running,
    usage_topic,
)
from licet_gateway.testing.keys import ApiKey, api_key
from licet_gateway.testing.licensing import Right, ScriptedLicensing, scripted_licensing
from licet_gateway.testing.loaded import LoadedModel

RULES = {"identity": "request", "rows": "rows:X", "gated": "request"}
LICENSE_GRANT = "31337:0x00000000000000000000000000000000000000aa:1:0"


@dataclass
class Scene:
    """What a test holds in its hands."""

    gateway: GatewayProcess
    licensing: ScriptedLicensing
    usage: UsageTopic
    announce: Announcer
    key: ApiKey
    rights: dict[str, Right]
    models: Mapping[str, LoadedModel]


@asynccontextmanager
async def scene(
    servers: Mapping[str, Any],
    models: Mapping[str, LoadedModel],
    folder: Path,
    *,
    start: bool = True,
    kafka: str = "",
    triton: str = "",
    topics: bool = True,
    **more: str,
) -> AsyncIterator[Scene]:
    """Builds it under a topic prefix of its own; `kafka` and `triton` replace the shared servers."""
    bootstrap = kafka or servers["kafka"]["bootstrap"]
    where = triton or servers["triton"]["http"]
    prefix = f"gw{secrets.token_hex(5)}."
    async with AsyncExitStack() as stack:
        licensing = await stack.enter_async_context(scripted_licensing())
        settings = environment(
            kafka=bootstrap,
            prefix=prefix,
            tritons=[where],
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
                await announce.version(model, rule=RULES[kind], triton=where)
        gateway = GatewayProcess(settings, folder / "gateway.log")
        if start:
            gateway = await stack.enter_async_context(running(settings, folder / "gateway.log"))
        key = api_key(1)
        yield Scene(gateway, licensing, usage, announce, key, _rights(licensing, key, models), models)


def _rights(licensing: ScriptedLicensing, key: ApiKey, models: Mapping[str, LoadedModel]) -> dict[str, Right]:
    return {
        kind: licensing.allow(key.digest, Right(model.slug, model.version_digest, RULES[kind]))
        for kind, model in models.items()
    }
