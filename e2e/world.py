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
from infra.local.postgres import database_url

M = TypeVar("M", bound=Message)


@dataclass(slots=True)
class World:
    """Endpoints of a stack, and clients of its actors. Reads go to Postgres, Kafka and the chain themselves."""

    endpoints: dict[str, Any]
    _clients: dict[str, Client] = field(default_factory=dict)

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
        return self._client("anyone", self.config).chain

    def actor(self, name: str) -> Actor:
        """A named account, or `<word>-<index>` of the mnemonic."""
        _, _, index = name.partition("-")
        return actor(name, int(index) if index else None)

    def client(self, name: str) -> Client:
        """An actor's SDK client."""
        return self._client(name, self.actor(name).config(self.config))

    def operator(self) -> Client:
        """The operator's client, with the token of billing's operator routes."""
        token = Path(self.endpoints["operator_token_file"]).read_text().strip()
        return self._client(
            "operator", replace(self.actor("operator").config(self.config), operator_token=token)
        )

    def close(self) -> None:
        """Closes every client."""
        while self._clients:
            self._clients.popitem()[1].close()

    def _client(self, name: str, config: Config) -> Client:
        if name not in self._clients:
            self._clients[name] = Client(config)
        return self._clients[name]

    def rows(self, service: str, query: str, *args: object) -> list[dict[str, Any]]:
        """Rows of one service's database."""
        return observe.rows(self.database(service), query, *args)

    def database(self, service: str) -> str:
        """URL of a service's own database."""
        return database_url(self.endpoints["postgres"]["url"], f"licet_{service}")

    def logs(self, contract: str, event: str, **indexed: object) -> list[Any]:
        """Every event of this name and with these indexed values, from the chain itself, oldest first."""
        kind = self.chain.contract(contract).events[event]
        return list(kind.get_logs(from_block=0, argument_filters=indexed))

    def topic(self, name: str, kind: type[M]) -> list[M]:
        """All messages of a topic."""
        return observe.topic(self.endpoints["kafka"]["bootstrap"], name, kind)
