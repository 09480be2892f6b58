"""Settings of billing, from the environment."""

from __future__ import annotations

from typing import ClassVar

from licet_kit.settings import ChainsSettings, KafkaSettings, PostgresSettings, SettingsInvalid
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from licet_billing.clients.signer import LocalSigner


class BillingSettings(PostgresSettings, KafkaSettings, ChainsSettings):
    """Variables are `BILLING_<FIELD>`; the shared ones have no prefix. Each also exists with `_FILE`."""

    model_config = SettingsConfigDict(env_prefix="BILLING_")

    service_name: ClassVar[str] = "billing"

    http_port: int = Field(default=8130, ge=0, le=65535)
    # The account that plans name as server and that settles. Billing alone sends with it.
    operator_key: SecretStr
    # Bearer token of the operator's routes.
    operator_token: SecretStr = Field(min_length=16)
    licensing_url: str = Field(pattern=r"^https?://")
    licensing_worker_token: SecretStr = Field(validation_alias="LICENSING_WORKER_TOKEN")
    licensing_timeout_s: float = Field(default=5.0, gt=0)

    # Between two batches. Longer means fewer transactions, and a longer wait for earners.
    settlement_interval_s: float = Field(default=5.0, gt=0)
    # Between two looks at batches on their way, and at what is final.
    poll_interval_s: float = Field(default=0.5, gt=0)
    # Leaves of one batch: the document that is published with it has about 110 bytes for each.
    batch_charges: int = Field(default=5_000, gt=0, le=50_000)
    resend_after_s: float = Field(default=10.0, gt=0)
    bump_after_s: float = Field(default=30.0, gt=0)
    rpc_timeout_s: float = Field(default=10.0, gt=0)
    reconciliation_interval_s: float = Field(default=86_400.0, gt=0)

    @field_validator("operator_key")
    @classmethod
    def _is_a_key(cls, value: SecretStr) -> SecretStr:
        LocalSigner(value.get_secret_value())
        return value


__all__ = ["BillingSettings", "SettingsInvalid"]
