"""One running installation as the story sees it: endpoints, actors, and where the figures can be read back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import Message
from licet_sdk import Client, Config
from licet_sdk.chain import Chain

from e2e import observe
from e2e.actors import Actor, actor

M = TypeVar("M", bound=Message)


@dataclass(slots=True)
class World:
    """Endpoints of a stack, and clients of its actors. Reads go to Postgres, Kafka and the chain themselves."""

    endpoints: dict[str, Any]
    api_keys: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, endpoints_file: Path) -> World:
        """The installation that an endpoints file describes."""
        return cls(json.loads(endpoints_file.read_text()))

    @property
    def config(self) -> Config:
        """Addresses without anyone's credentials."""
        services = {
            name: self.endpoints[name]["http"] for name in ("licensing", "indexer", "billing", "vault")
        }
        gateways = tuple(g["http"] for g in self.endpoints["gateways"])
        return Config(gateway=gateways, chains_file=self.endpoints["chains_file"], **services)

    @property
    def chain(self) -> Chain:
        """The chain, for reading."""
        return Chain(self.config)

    def actor(self, name: str) -> Actor:
        """A named account."""
        return actor(name)

    def client(self, name: str) -> Client:
        """An actor's SDK client, with its API key when one was made."""
        config = self.actor(name).config(self.config)
        if name in self.api_keys:
            config = replace(config, api_key=self.api_keys[name])
        return Client(config)

    def operator(self) -> Client:
        """The operator's client, with the token of billing's operator routes."""
        token = Path(self.endpoints["operator_token_file"]).read_text().strip()
        return Client(replace(self.actor("operator").config(self.config), operator_token=token))

    def rows(self, service: str, query: str, *args: object) -> list[dict[str, Any]]:
        """Rows of one service's database."""
        return observe.rows(self.database(service), query, *args)

    def database(self, service: str) -> str:
        """URL of a service's own database."""
        return f"{self.endpoints['postgres']['url'].rsplit('/', 1)[0]}/licet_{service}"

    def topic(self, name: str, kind: type[M]) -> list[M]:
        """All messages of a topic."""
        return observe.topic(self.endpoints["kafka"]["bootstrap"], name, kind)
