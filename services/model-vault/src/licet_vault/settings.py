"""Settings of the vault, prefix VAULT_."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from licet_kit.settings import KafkaSettings, PostgresSettings, TritonSettings
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from licet_vault.store import MasterKey


class VaultSettings(PostgresSettings, KafkaSettings, TritonSettings):
    """Everything the vault can be told."""

    model_config = SettingsConfigDict(env_prefix="VAULT_")
    service_name: ClassVar[str] = "vault"

    http_port: int = 8140
    # 64 hex digits; wraps the key of every artefact. Whoever has it and the store has the weights.
    master_key: SecretStr
    # Sealed artefacts; on any disk.
    store_dir: Path
    # Triton's model repository; on tmpfs or ramfs, and shared with Triton alone.
    repository_dir: Path
    licensing_url: str = Field(pattern=r"^https?://")
    licensing_worker_token: SecretStr = Field(validation_alias="LICENSING_WORKER_TOKEN")

    # A gigabyte of weights; larger models need an upload that can be resumed.
    max_artifact_bytes: int = Field(default=1 << 30, ge=1)
    # Each upload holds two chunks in memory and one file open; an account has half of them at most.
    max_uploads: int = Field(default=4, ge=1)
    # A client that sends nothing for this long is cut off, and one that over it sends less than this a second.
    upload_idle_s: float = Field(default=30.0, gt=0)
    upload_min_bytes_per_s: float = Field(default=64 * 1024, ge=0)
    poll_interval_s: float = Field(default=1.0, gt=0)
    load_timeout_s: float = Field(default=120.0, gt=0)
    unload_grace_s: float = Field(default=5.0, ge=0)
    announce_interval_s: float = Field(default=3600.0, gt=0)

    @field_validator("master_key")
    @classmethod
    def _master_key_is_one(cls, value: SecretStr) -> SecretStr:
        MasterKey.from_hex(value.get_secret_value())
        return value
