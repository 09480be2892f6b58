"""Settings that cannot work are refused at start, and no secret is in the refusal."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from licet_gateway.events import NotCertified, Sealer
from licet_gateway.main import check_certificates
from licet_gateway.settings import GatewaySettings, normal_url
from licet_gateway.testing.certificates import write_certificate
from licet_gateway.testing.gateways import environment
from licet_gateway.testing.keys import certificates
from licet_gateway.tls import GRPC
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


def test_tls_needs_a_certificate_and_its_key(complete: pytest.MonkeyPatch, tmp_path: Path) -> None:
    served, other = write_certificate(tmp_path), write_certificate(tmp_path, "other")
    for name, value in served.environment.items():
        complete.setenv(name, value)
    settings = load_settings(GatewaySettings)
    context = settings.tls_context(GRPC)
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    complete.setenv("GATEWAY_TLS_KEY", str(other.key))
    with pytest.raises(SettingsInvalid, match=r"GATEWAY_TLS_KEY: .*KEY_VALUES_MISMATCH"):
        load_settings(GatewaySettings)
    complete.setenv("GATEWAY_TLS_KEY", str(tmp_path / "absent"))
    with pytest.raises(SettingsInvalid, match=r"GATEWAY_TLS_KEY: cannot read .*absent: No such file"):
        load_settings(GatewaySettings)
    complete.setenv("GATEWAY_TLS_KEY", str(served.certificate))
    with pytest.raises(SettingsInvalid, match=r"GATEWAY_TLS_KEY: .* do not serve"):
        load_settings(GatewaySettings)
    complete.delenv("GATEWAY_TLS_KEY")
    with pytest.raises(SettingsInvalid, match="only one of them is set"):
        load_settings(GatewaySettings)


def test_a_key_with_a_password_is_refused_and_not_asked_for(
    complete: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    served = write_certificate(tmp_path)
    key = serialization.load_pem_private_key(served.key.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"secret")
    served.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    )
    for name, value in served.environment.items():
        complete.setenv(name, value)
    with pytest.raises(SettingsInvalid, match=r"GATEWAY_TLS_KEY: .* do not serve"):
        load_settings(GatewaySettings)
