"""Settings: names, files, production, and what is said when something is wrong."""

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from licet_kit.chains import ChainsInvalid, load_chains
from licet_kit.settings import (
    ChainsSettings,
    KafkaSettings,
    PostgresSettings,
    RedisSettings,
    ServiceSettings,
    SettingsInvalid,
    TritonSettings,
    load_settings,
)
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict


class EverySettings(
    PostgresSettings, KafkaSettings, RedisSettings, ChainsSettings, TritonSettings, ServiceSettings
):
    """A service that uses everything."""

    model_config = SettingsConfigDict(env_prefix="EVERY_")
    service_name: ClassVar[str] = "every"

    http_port: int = 8130
    token: SecretStr


ENVIRONMENT = {
    "DATABASE_URL": "postgresql://u:pw@db:5432/every",
    "KAFKA_BOOTSTRAP": "broker:9092",
    "REDIS_URL": "redis://cache:6379/0",
    "CHAINS_FILE": "chains.json",
    "TRITON_URLS": "http://a:8000, http://b:8000",
    "EVERY_TOKEN": "hidden",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_shared_names_have_no_prefix_and_own_names_have_one(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("EVERY_HTTP_PORT", "9000")
    environment.setenv("KAFKA_TOPIC_PREFIX", "x.")
    settings = load_settings(EverySettings)
    assert settings.database_url == "postgresql://u:pw@db:5432/every"
    assert settings.triton_urls == ("http://a:8000", "http://b:8000")
    assert settings.token.get_secret_value() == "hidden"
    assert settings.kafka_topic_prefix == "x."
    assert settings.admin_address == ("127.0.0.1", 10000)


def test_the_admin_port_can_be_named(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("EVERY_ADMIN_PORT", "7777")
    assert load_settings(EverySettings).admin_address == ("127.0.0.1", 7777)


@pytest.mark.parametrize("name", [*ENVIRONMENT, "KAFKA_SASL_PASSWORD", "EVERY_HTTP_PORT"])
def test_every_variable_can_be_a_file(environment: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    value = ENVIRONMENT.get(name, "1234")
    environment.delenv(name, raising=False)
    before = load_settings(EverySettings).model_dump() if name not in ENVIRONMENT else None
    (tmp_path / "value").write_text(f"{value}\n")
    environment.setenv(f"{name}_FILE", str(tmp_path / "value"))
    settings = load_settings(EverySettings)
    assert settings.model_dump() != before
    if name in ENVIRONMENT:
        environment.delenv(f"{name}_FILE")
        environment.setenv(name, value)
        assert load_settings(EverySettings) == settings


def test_a_missing_variable_is_named(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("KAFKA_BOOTSTRAP")
    environment.delenv("EVERY_TOKEN")
    with pytest.raises(SettingsInvalid) as raised:
        load_settings(EverySettings)
    lines = str(raised.value).splitlines()
    assert sorted(line.split(":")[0] for line in lines) == ["EVERY_TOKEN", "KAFKA_BOOTSTRAP"]
    assert "EVERY_TOKEN_FILE" in str(raised.value)


def test_an_empty_variable_counts_as_missing(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("EVERY_TOKEN", "")
    with pytest.raises(SettingsInvalid, match="EVERY_TOKEN: is not set"):
        load_settings(EverySettings)


def test_a_wrong_value_is_named_and_not_shown(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("DATABASE_URL", "mysql://u:very-secret@db/every")
    with pytest.raises(SettingsInvalid, match="DATABASE_URL") as raised:
        load_settings(EverySettings)
    assert "very-secret" not in str(raised.value)


def test_a_variable_and_its_file_together_are_refused(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("EVERY_TOKEN_FILE", str(tmp_path / "token"))
    with pytest.raises(SettingsInvalid, match="EVERY_TOKEN and EVERY_TOKEN_FILE are both set"):
        load_settings(EverySettings)


def test_a_file_that_cannot_be_read_is_named(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.delenv("EVERY_TOKEN")
    environment.setenv("EVERY_TOKEN_FILE", str(tmp_path / "not-there"))
    with pytest.raises(SettingsInvalid, match="EVERY_TOKEN_FILE: cannot read"):
        load_settings(EverySettings)


def test_secrets_are_not_printed(environment: pytest.MonkeyPatch) -> None:
    text = repr(load_settings(EverySettings))
    assert "hidden" not in text
    assert "pw@" not in text


ENCRYPTED = {
    "DATABASE_URL": "postgresql://db/every?sslmode=verify-full",
    "KAFKA_SECURITY_PROTOCOL": "SSL",
    "REDIS_URL": "rediss://cache",
}


def test_production_accepts_encrypted_connections(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("LICET_ENV", "production")
    for name, value in ENCRYPTED.items():
        environment.setenv(name, value)
    assert load_settings(EverySettings).environment == "production"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql://db/every"),
        ("DATABASE_URL", "postgresql://db/every?sslmode=prefer"),
        ("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT"),
        ("REDIS_URL", "redis://cache"),
    ],
)
def test_production_refuses_plaintext(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv("LICET_ENV", "production")
    for encrypted, setting in {**ENCRYPTED, name: value}.items():
        environment.setenv(encrypted, setting)
    with pytest.raises(SettingsInvalid, match=f"{name}: .*production refuses plaintext"):
        load_settings(EverySettings)


def test_sasl_needs_its_credentials(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    with pytest.raises(
        SettingsInvalid, match="KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD"
    ):
        load_settings(EverySettings)


def chain(**changes: Any) -> dict[str, Any]:
    return {
        "chain_id": 31337,
        "name": "local",
        "rpc_url": "http://127.0.0.1:8545",
        "finality": {"source": "tag"},
        "start_block": 0,
        "poll_interval_ms": 200,
        "contracts": {"Thing": "0x" + "Ab" * 20},
        **changes,
    }


def write(folder: Path, *chains: dict[str, Any]) -> Path:
    path = folder / "chains.json"
    path.write_text(json.dumps({"chains": chains}))
    return path


def test_addresses_of_contracts_are_lowercase(tmp_path: Path) -> None:
    (found,) = load_chains(write(tmp_path, chain()))
    assert found.contract("Thing") == "0x" + "ab" * 20
    with pytest.raises(ChainsInvalid, match="31337 has no contract Other"):
        found.contract("Other")


def test_generations_of_a_contract_are_in_order(tmp_path: Path) -> None:
    former = {"Thing": ["0x" + "0A" * 20, "0x" + "0b" * 20]}
    (found,) = load_chains(write(tmp_path, chain(former=former)))
    assert found.generations("Thing") == ("0x" + "0a" * 20, "0x" + "0b" * 20, "0x" + "ab" * 20)
    (plain,) = load_chains(write(tmp_path, chain()))
    assert plain.generations("Thing") == ("0x" + "ab" * 20,)


@pytest.mark.parametrize(
    ("chains", "said"),
    [
        ([], "chains"),
        ([chain(chain_id=0)], "chain_id"),
        ([chain(), chain()], "occurs twice"),
        ([chain(contracts={"Thing": "0x12"})], "not an address"),
        ([chain(finality={"source": "depth"})], "depth"),
        ([chain(finality={"source": "tag", "depth": 3})], "depth"),
        ([chain(rpc_url="ftp://node")], "rpc_url"),
    ],
)
def test_a_chains_file_that_cannot_be_says_why(
    tmp_path: Path, chains: list[dict[str, Any]], said: str
) -> None:
    path = write(tmp_path, *chains)
    with pytest.raises(ChainsInvalid, match=said) as raised:
        load_chains(path)
    assert str(path) in str(raised.value)


def test_a_missing_chains_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ChainsInvalid, match="not-there"):
        load_chains(tmp_path / "not-there")
