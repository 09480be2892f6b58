"""Settings of the indexer, prefix INDEXER_."""

from __future__ import annotations

from typing import ClassVar

from licet_kit.settings import ChainsSettings, KafkaSettings, PostgresSettings
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from licet_indexer.domain.catalogue import SUCCEEDED, WATCHED
from licet_indexer.domain.chain import Chain, ChainId, Finality


class IndexerSettings(PostgresSettings, KafkaSettings, ChainsSettings):
    """Everything the indexer can be told; the chains themselves are in CHAINS_FILE."""

    model_config = SettingsConfigDict(env_prefix="INDEXER_")
    service_name: ClassVar[str] = "indexer"

    http_port: int = 8120
    # A node that takes longer is asked again; the leader's other chains do not wait for it.
    rpc_timeout_s: float = Field(default=10.0, gt=0)
    # Blocks a request in backfill. They travel as one JSON-RPC batch with head, final block and tip, and hosted nodes
    # limit a batch to 100 calls.
    max_span: int = Field(default=96, ge=1, le=1000)
    # Looks in a row that show another block at our tip's height before it counts as a reorg.
    fork_polls: int = Field(default=3, ge=1)
    # Looks in a row that show a head below our tip before the chain counts as restarted rather than the node as late.
    lag_polls: int = Field(default=50, ge=1)
    # Blocks behind the node up to which the service calls itself ready.
    ready_lag: int = Field(default=5, ge=0)
    # How often a standby asks for the leader's lock: the time in which it takes over after the leader's death.
    election_interval_s: float = Field(default=0.5, gt=0)

    def followed_chains(self) -> tuple[Chain, ...]:
        """The chains of CHAINS_FILE; raises ChainsInvalid where one lacks a contract that is watched."""
        return tuple(
            Chain(
                chain_id=ChainId(chain.chain_id),
                name=chain.name,
                rpc_url=chain.rpc_url,
                finality=Finality(chain.finality.source, chain.finality.depth),
                start_block=chain.start_block,
                poll_interval_s=chain.poll_interval_ms / 1000,
                contracts={name: chain.contract(name) for name in WATCHED},
                former={name: chain.former.get(name, ()) for name in SUCCEEDED},
            )
            for chain in self.chains()
        )
