"""Settings that cannot work are refused at start, and no secret is in the refusal."""

from __future__ import annotations

import json

import pytest
from licet_gateway.events import NotCertified, Sealer
from licet_gateway.main import check_certificates
from licet_gateway.settings import GatewaySettings, normal_url
from licet_gateway.testing.gateways import environment
from licet_gateway.testing.keys import certificates
from licet_kit.settings import SettingsInvalid, load_settings


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> pytest.MonkeyPatch:
    folder = tmp_path_factory.mktemp("log")
    for name, value in environment(
        kafka="kafka:9092",
        prefix="",
        tritons=["http://triton:8000"],
        triton_grpc=["127.0.0.1:9"],
        licensing_port=8111,
        folder=folder,
    ).items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_a_complete_environment_is_accepted(complete: pytest.MonkeyPatch) -> None:
    settings = load_settings(GatewaySettings)
    assert settings.tritons() == ("http://triton:8000",)
    assert len(settings.private_key()) == 32
    assert settings.certificates()[0].chain_id == 31337
    Sealer(settings.private_key(), settings.certificates())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY_REPLICA_KEY", "0x" + "zz" * 32),
        ("GATEWAY_REPLICA_KEY", "0x" + "ab" * 31),
        ("GATEWAY_REPLICA_CERTIFICATES", "[]"),
        ("GATEWAY_REPLICA_CERTIFICATES", "not json"),
        ("GATEWAY_REPLICA_CERTIFICATES", json.dumps([{"chain_id": 1}])),
        ("GATEWAY_LICENSING_GRPC", "http://licensing:8111"),
        ("GATEWAY_WORKER_ID", "a/b"),
        ("GATEWAY_WORKERS", "0"),
        ("LICENSING_WORKER_TOKEN", "short"),
    ],
)
def test_a_wrong_value_is_named_and_not_shown(complete: pytest.MonkeyPatch, name: str, value: str) -> None:
    complete.setenv(name, value)
    with pytest.raises(SettingsInvalid, match=name) as refused:
        load_settings(GatewaySettings)
    if len(value) > 4:
        assert value not in str(refused.value)


def test_a_key_that_nobody_certified_is_refused(complete: pytest.MonkeyPatch) -> None:
    complete.setenv("GATEWAY_REPLICA_KEY", "0x" + "33" * 32)
    settings = load_settings(GatewaySettings)
    with pytest.raises(NotCertified):
        Sealer(settings.private_key(), settings.certificates())


def test_certificates_come_from_a_file_too(
    complete: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("secrets") / "certificates"
    file.write_text(certificates())
    complete.delenv("GATEWAY_REPLICA_CERTIFICATES")
    complete.setenv("GATEWAY_REPLICA_CERTIFICATES_FILE", str(file))
    assert load_settings(GatewaySettings).certificates()[0].valid_until == 2**40


@pytest.mark.parametrize(
    "text", ["triton:8000", "http://triton:8000", "http://triton:8000/", "http://TRITON:8000"]
)
def test_an_address_is_compared_however_it_was_written(text: str) -> None:
    assert normal_url(text) == "http://triton:8000"


@pytest.mark.parametrize("now_s", [-1.0, float(2**40)])
def test_a_certificate_that_does_not_hold_now_is_refused(complete: pytest.MonkeyPatch, now_s: float) -> None:
    settings = load_settings(GatewaySettings)
    check_certificates(settings, 1.0)
    with pytest.raises(SettingsInvalid, match="certify the replica's key anew"):
        check_certificates(settings, now_s)
