"""Settings of licensing, from the environment."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from licet_kit.settings import ChainsSettings, KafkaSettings, PostgresSettings, RedisSettings
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from licet_licensing.domain.scene import Policy
from licet_licensing.domain.siwe import SignInPolicy
from licet_licensing.events import Contracts
from licet_licensing.usecases.sweeping import Terms

# No lease lives longer, whatever is set: revocation is bounded by it.
LONGEST_LEASE_S = 30.0


class LicensingSettings(PostgresSettings, KafkaSettings, RedisSettings, ChainsSettings):
    """One installation's licensing. Each variable has a `_FILE` form."""

    model_config = SettingsConfigDict(env_prefix="LICENSING_")
    service_name: ClassVar[str] = "licensing"

    http_port: int = Field(default=8110, ge=0, le=65535)
    grpc_port: int = Field(default=8111, ge=0, le=65535)
    # What gateways, billing and the vault show: LICENSING_WORKER_TOKEN.
    worker_token: SecretStr = Field(min_length=16)
    # The account that is `server` of the plans of this installation; others' plans are not leased here.
    operator: str = Field(pattern=r"^0x[0-9a-fA-F]{40}$")

    # Host (and port) that wallets sign in to, and the origin of the URI in their messages.
    siwe_domain: str = ""
    siwe_uri: str = ""
    nonce_ttl_s: float = Field(default=300, gt=0)
    session_ttl_s: float = Field(default=86_400, gt=0)

    lease_ttl_s: float = Field(default=10, gt=0, le=LONGEST_LEASE_S)
    # Records reach the log within a second; calls admitted at the last moment end later.
    lease_grace_s: float = Field(default=5, ge=0)
    # A lost worker's log may come back for this long before its leases are given up.
    reclaim_horizon_s: float = Field(default=86_400, gt=0)
    # ... and for at least this long when its right has ended before.
    reclaim_floor_s: float = Field(default=60, ge=0)
    mirror_silence_s: float = Field(default=60, gt=0)
    retry_after_ms: int = Field(default=1_000, gt=0, le=60_000)
    sweep_interval_s: float = Field(default=0.25, gt=0)
    decisions_kept_s: float = Field(default=30 * 86_400, gt=0)

    @field_validator("operator")
    @classmethod
    def _lower(cls, value: str) -> str:
        return value.lower()

    @property
    def policy(self) -> Policy:
        """Bounds of every lease."""
        return Policy(
            operator=self.operator,
            ttl_s=self.lease_ttl_s,
            retry_after_ms=self.retry_after_ms,
            mirror_silence_s=self.mirror_silence_s,
        )

    @property
    def terms(self) -> Terms:
        """How long leases and decisions are kept."""
        return Terms(
            grace=timedelta(seconds=self.lease_grace_s),
            horizon=timedelta(seconds=self.reclaim_horizon_s),
            floor=timedelta(seconds=self.reclaim_floor_s),
            decisions_kept=timedelta(seconds=self.decisions_kept_s),
        )

    @property
    def sign_in(self) -> SignInPolicy:
        """What wallets may sign for."""
        domain = self.siwe_domain or f"{self.host}:{self.http_port}"
        chain_ids = frozenset(chain.chain_id for chain in self.chains())
        return SignInPolicy(domain=domain, origin=self.siwe_uri or f"http://{domain}", chain_ids=chain_ids)

    @property
    def contracts(self) -> Contracts:
        """Addresses by which rights are named."""
        return Contracts(
            {
                chain.chain_id: (
                    chain.contract("License"),
                    chain.contract("PlanBook"),
                    chain.contract("UsageEscrow"),
                )
                for chain in self.chains()
            },
            {chain.chain_id: chain.former.get("License", ()) for chain in self.chains()},
        )
