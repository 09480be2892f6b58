"""Settings from the environment, read once at start.

A service takes the mixins that it needs and adds its own fields under its own prefix. Every variable NAME
may be given as NAME_FILE instead: the path of a file that holds the value, which is how secrets arrive.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from licet_kit.chains import Chain, load_chains
from licet_kit.errors import PermanentError

# The admin port of a process lies this far above its first port.
ADMIN_PORT_OFFSET = 1000


class SettingsInvalid(PermanentError):
    """The environment does not describe a runnable service; the message names each variable at fault."""

    code = "settings_invalid"


class _EnvironmentWithFiles(EnvSettingsSource):
    """The environment, in which NAME_FILE stands for the content of that file."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        values = dict(os.environ)
        for name in environment_names(self.settings_cls).values():
            path = os.environ.get(f"{name}_FILE")
            if not path:
                continue
            if name in os.environ:
                raise SettingsInvalid(f"{name} and {name}_FILE are both set; give one")
            try:
                values[name] = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsInvalid(f"{name}_FILE: cannot read {path}: {error}") from error
        return {name.lower(): value for name, value in values.items()}


class ServiceSettings(BaseSettings):
    """What every service has. Subclasses set `env_prefix`, `service_name` and a default for `http_port`."""

    model_config = SettingsConfigDict(
        populate_by_name=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    service_name: ClassVar[str]

    host: str = "127.0.0.1"
    http_port: int = Field(ge=0, le=65535)
    # 0 stands for the first port + 1000.
    admin_port: int = Field(default=0, ge=0, le=65535)
    environment: Literal["development", "production"] = Field(
        default="development", validation_alias="LICET_ENV"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", validation_alias="LICET_LOG_LEVEL"
    )
    log_format: Literal["json", "console"] = Field(default="json", validation_alias="LICET_LOG_FORMAT")
    otel_endpoint: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments, then the environment with its files; nothing else."""
        return init_settings, _EnvironmentWithFiles(settings_cls)

    @model_validator(mode="before")
    @classmethod
    def _empty_means_absent(cls, values: Any) -> Any:
        if isinstance(values, dict):
            return {name: value for name, value in values.items() if value != ""}
        return values

    @property
    def admin_address(self) -> tuple[str, int]:
        """Host and port of /livez, /readyz and /metrics."""
        return self.host, self.admin_port or self.http_port + ADMIN_PORT_OFFSET

    def refuse_plaintext(self, name: str, reason: str | None) -> None:
        """In production, refuse a connection that could be read on its way."""
        if reason and self.environment == "production":
            raise ValueError(f"{name}: {reason}; production refuses plaintext")


class PostgresSettings(ServiceSettings):
    """Settings of a service with a database of its own."""

    database_url: str = Field(
        validation_alias="DATABASE_URL", pattern=r"^postgres(ql)?(\+asyncpg)?://", repr=False
    )

    @model_validator(mode="after")
    def _postgres_is_encrypted(self) -> "PostgresSettings":
        query = parse_qs(urlsplit(self.database_url).query)
        modes = {*query.get("sslmode", []), *query.get("ssl", [])}
        plain = not modes & {"require", "verify-ca", "verify-full"}
        self.refuse_plaintext("DATABASE_URL", "needs sslmode=require or stronger" if plain else None)
        return self


class KafkaSettings(ServiceSettings):
    """Settings of a service that produces to or consumes from Kafka."""

    kafka_bootstrap: str = Field(validation_alias="KAFKA_BOOTSTRAP", min_length=1)
    kafka_topic_prefix: str = Field(
        default="", validation_alias="KAFKA_TOPIC_PREFIX", pattern=r"^[A-Za-z0-9._-]*$"
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", validation_alias="KAFKA_SECURITY_PROTOCOL"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        default=None, validation_alias="KAFKA_SASL_MECHANISM"
    )
    kafka_sasl_username: str | None = Field(default=None, validation_alias="KAFKA_SASL_USERNAME")
    kafka_sasl_password: SecretStr | None = Field(default=None, validation_alias="KAFKA_SASL_PASSWORD")
    # PEM file of the authorities that may sign the brokers' certificates; without it, the system's.
    kafka_ssl_ca: Path | None = Field(default=None, validation_alias="KAFKA_SSL_CA")

    @model_validator(mode="after")
    def _kafka_is_authenticated_and_encrypted(self) -> "KafkaSettings":
        credentials = (self.kafka_sasl_mechanism, self.kafka_sasl_username, self.kafka_sasl_password)
        if self.kafka_security_protocol.startswith("SASL") and not all(credentials):
            raise ValueError(
                "KAFKA_SECURITY_PROTOCOL: SASL needs KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD"
            )
        plain = self.kafka_security_protocol not in {"SSL", "SASL_SSL"}
        self.refuse_plaintext("KAFKA_SECURITY_PROTOCOL", "needs SSL or SASL_SSL" if plain else None)
        return self


class RedisSettings(ServiceSettings):
    """Settings of a service that uses Redis."""

    redis_url: str = Field(validation_alias="REDIS_URL", pattern=r"^rediss?://", repr=False)

    @model_validator(mode="after")
    def _redis_is_encrypted(self) -> "RedisSettings":
        plain = not self.redis_url.startswith("rediss://")
        self.refuse_plaintext("REDIS_URL", "needs rediss://" if plain else None)
        return self


class ChainsSettings(ServiceSettings):
    """Settings of a service that knows chains."""

    chains_file: Path = Field(validation_alias="CHAINS_FILE")

    def chains(self) -> tuple[Chain, ...]:
        """Read the chains file; raises ChainsInvalid."""
        return load_chains(self.chains_file)


class TritonSettings(ServiceSettings):
    """Settings of a service that talks to inference servers."""

    triton_urls: Annotated[tuple[str, ...], NoDecode] = Field(validation_alias="TRITON_URLS", min_length=1)

    @field_validator("triton_urls", mode="before")
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(url.strip() for url in value.split(",") if url.strip())
        return value


S = TypeVar("S", bound=ServiceSettings)


def environment_names(settings_cls: type[BaseSettings]) -> dict[str, str]:
    """Return the environment variable of each field; each also exists with `_FILE` at its end."""
    prefix = settings_cls.model_config.get("env_prefix", "")
    names: dict[str, str] = {}
    for field, info in settings_cls.model_fields.items():
        alias = info.validation_alias
        names[field] = alias if isinstance(alias, str) else f"{prefix}{field}".upper()
    return names


def load_settings(settings_cls: type[S]) -> S:
    """Read the environment; raises SettingsInvalid with one line for each variable at fault, never its value."""
    read: Callable[[], S] = settings_cls
    try:
        return read()
    except ValidationError as error:
        names = environment_names(settings_cls)
        lines = [_fault(names, fault["loc"], fault["msg"], fault["type"]) for fault in error.errors()]
        raise SettingsInvalid("\n".join(lines)) from None


def _fault(names: Mapping[str, str], location: tuple[int | str, ...], message: str, kind: str) -> str:
    if not location:
        return message.removeprefix("Value error, ")
    first = str(location[0])
    name = names.get(first, first)
    if kind == "missing":
        return f"{name}: is not set (or {name}_FILE, a file that holds it)"
    return f"{name}: {message.removeprefix('Value error, ')}"
