"""The gateway's settings. Names shared with other services have no prefix; every name has a `_FILE` form."""

from __future__ import annotations

import json
import re
import ssl
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, Self
from urllib.parse import urlsplit

from licet_kit.settings import KafkaSettings, ServiceSettings, TritonSettings
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from licet_gateway.tls import HTTP, TlsInvalid, server_context

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class DataPlaneLimits:
    """The bounds that a worker's data plane works within."""

    max_body_bytes: int = 64 * MIB
    call_timeout_s: float = 60.0
    lease_idle_s: float = 3.0
    log_max_bytes: int = 1024 * MIB
    upstream_connections: int = 64
    client_connections: int = 8192
    upstream_connect_timeout_s: float = 2.0
    upstream_first_byte_timeout_s: float = 60.0
    upstream_idle_timeout_s: float = 30.0
    queue_wait_s: float = 2.0
    queue_length: int = 1024
    queue_length_per_account: int = 256
    hold_s: float = 5.0
    hold_calls: int = 1024
    retry_share: float = 0.1


@dataclass(frozen=True, slots=True)
class Certificate:
    """The operator's word, signed by its on-chain receipt key, that this replica's key signs receipts for it."""

    chain_id: int
    escrow: str
    operator: str
    replica: str
    valid_from: int
    valid_until: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class GrpcTarget:
    """Where an inference server listens for gRPC."""

    host: str
    port: int


class GatewaySettings(KafkaSettings, TritonSettings, ServiceSettings):
    """Read once by the supervisor and once by each worker."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_")
    service_name: ClassVar[str] = "inference-gateway"

    http_port: int = Field(8000, ge=1, le=65535)
    # Where KServe's gRPC service is answered.
    grpc_port: int = Field(8001, ge=1, le=65535)
    # host:port of the gRPC service of each of TRITON_URLS, in their order, comma separated.
    triton_grpc: str = Field(pattern=r"^[^/\s,]+:\d+(,[^/\s,]+:\d+)*$")
    # PEM files; with them both ports speak TLS alone.
    tls_cert: Path | None = None
    tls_key: Path | None = None
    # Processes that share the port. One serves a core.
    workers: int = Field(1, ge=1, le=64)
    # Names this replica in leases and usage records; each worker process adds a part of its own.
    worker_id: str = Field("gateway", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    licensing_grpc: str = Field(pattern=r"^[^/\s]+:\d+$")
    licensing_worker_token: SecretStr = Field(validation_alias="LICENSING_WORKER_TOKEN", min_length=16)
    # Must outlive the process: it holds the usage that is not in Kafka yet.
    log_dir: Path
    # 0x + 64 hex; certified per chain by `replica_certificates`.
    replica_key: SecretStr
    # JSON: [{chain_id, escrow, operator, replica, valid_from, valid_until, signature}]
    replica_certificates: str = Field(min_length=2)

    max_body_bytes: int = Field(64 * MIB, ge=1024, le=2048 * MIB)
    call_timeout_s: float = Field(60.0, gt=0, le=3600)
    # An idle lease goes back after this, so that its units are free elsewhere.
    lease_idle_s: float = Field(3.0, gt=0, le=30)
    # Unshipped usage that stops admission.
    log_max_bytes: int = Field(1024 * MIB, ge=MIB)
    upstream_connections: int = Field(64, ge=1, le=4096)
    # Clients of one worker at a time; fewer where the process may not open so many files.
    client_connections: int = Field(8192, ge=1, le=1_000_000)
    upstream_connect_timeout_s: float = Field(2.0, gt=0, le=60)
    # From the end of the request to the first byte of its answer, and between two bytes of it.
    upstream_first_byte_timeout_s: float = Field(60.0, gt=0, le=3600)
    upstream_idle_timeout_s: float = Field(30.0, gt=0, le=3600)
    # A call waits so long for a connection to an inference server, among so many in each worker.
    queue_wait_s: float = Field(2.0, gt=0, le=60)
    queue_length: int = Field(1024, ge=1, le=65536)
    queue_length_per_account: int = Field(256, ge=1, le=65536)
    # A call waits so long for its version to be ready; 0: not at all.
    hold_s: float = Field(5.0, ge=0, le=60)
    hold_calls: int = Field(1024, ge=1, le=65536)
    # Repeated requests as a share of the calls of ten seconds; 0: none.
    retry_share: float = Field(0.1, ge=0, le=1)
    # How long calls in flight may take to end after SIGTERM.
    drain_s: float = Field(12.0, ge=0, le=15)
    # Share of calls without a sampled traceparent that get a span.
    trace_ratio: float = Field(0.001, ge=0, le=1)

    @property
    def limits(self) -> DataPlaneLimits:
        return DataPlaneLimits(**{field.name: getattr(self, field.name) for field in fields(DataPlaneLimits)})

    def tritons(self) -> tuple[str, ...]:
        """The inference servers in the form in which announcements are compared with them."""
        return tuple(normal_url(url) for url in self.triton_urls)

    def grpc_targets(self) -> dict[str, GrpcTarget]:
        """The gRPC service of each inference server, by its address in announcements."""
        places = [place.rpartition(":") for place in self.triton_grpc.split(",")]
        targets = [GrpcTarget(host.strip("[]"), int(port)) for host, _, port in places]
        return dict(zip(self.tritons(), targets, strict=True))

    def tls_context(self, protocol: str) -> ssl.SSLContext | None:
        """What a port that speaks `protocol` serves by; None where it is plaintext. Raises TlsInvalid."""
        if self.tls_cert is None or self.tls_key is None:
            return None
        return server_context(self.tls_cert, self.tls_key, protocol)

    def private_key(self) -> bytes:
        """The replica's key, 32 bytes."""
        return bytes.fromhex(self.replica_key.get_secret_value().removeprefix("0x"))

    def certificates(self) -> tuple[Certificate, ...]:
        """The replica's certificates, one a chain."""
        return tuple(
            Certificate(
                chain_id=int(entry["chain_id"]),
                escrow=str(entry["escrow"]).lower(),
                operator=str(entry["operator"]).lower(),
                replica=str(entry["replica"]).lower(),
                valid_from=int(entry["valid_from"]),
                valid_until=int(entry["valid_until"]),
                signature=bytes.fromhex(str(entry["signature"]).removeprefix("0x")),
            )
            for entry in json.loads(self.replica_certificates)
        )

    @field_validator("replica_key")
    @classmethod
    def _key_is_a_key(cls, value: SecretStr) -> SecretStr:
        if not re.fullmatch(r"(0x)?[0-9a-fA-F]{64}", value.get_secret_value()):
            raise ValueError("not a private key of 32 bytes in hex")
        return value

    @model_validator(mode="after")
    def _every_triton_has_both(self) -> Self:
        if len(self.triton_grpc.split(",")) != len(self.tritons()):
            raise ValueError("GATEWAY_TRITON_GRPC: not one place for each of TRITON_URLS")
        return self

    @model_validator(mode="after")
    def _tls_is_servable(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("GATEWAY_TLS_CERT and GATEWAY_TLS_KEY: only one of them is set")
        try:
            self.tls_context(HTTP)
        except TlsInvalid as error:
            raise ValueError(f"GATEWAY_TLS_CERT and GATEWAY_TLS_KEY: {error}") from None
        return self

    @model_validator(mode="after")
    def _certificates_are_readable(self) -> Self:
        try:
            if not self.certificates():
                raise ValueError("it is empty")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"GATEWAY_REPLICA_CERTIFICATES: not a list of certificates: {error}") from None
        return self


def normal_url(url: str) -> str:
    """`http://host:port`, however the address of an inference server was written."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    return f"http://{parts.hostname}:{parts.port or 80}"
