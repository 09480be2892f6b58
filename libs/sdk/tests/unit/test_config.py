"""Configuration comes from the environment over the endpoints file, and every gap names its variable."""

import json
from pathlib import Path

import pytest
from licet_sdk import Config
from licet_sdk.errors import ConfigError


def endpoints(folder: Path) -> Path:
    path = folder / "endpoints.json"
    path.write_text(
        json.dumps(
            {
                "gateways": [{"http": "http://127.0.0.1:1"}, {"http": "http://127.0.0.1:2"}],
                "licensing": {"http": "http://127.0.0.1:3"},
                "chains_file": "chains.json",
            }
        )
    )
    return path


def test_environment_goes_before_the_endpoints_file(tmp_path: Path) -> None:
    config = Config.load(
        {
            "LICET_ENDPOINTS": str(endpoints(tmp_path)),
            "LICET_LICENSING_URL": "http://other:9/",
            "LICET_API_KEY": "k",
        }
    )
    assert config.gateway == ("http://127.0.0.1:1", "http://127.0.0.1:2")
    assert config.licensing == "http://other:9"
    assert config.api_key == "k"
    assert config.chains_file == "chains.json"


def test_a_secret_is_read_from_its_file_form(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("0xabc\n")
    config = Config.load({"LICET_ENDPOINTS": str(endpoints(tmp_path)), "LICET_PRIVATE_KEY_FILE": str(secret)})
    assert config.private_key == "0xabc"


def test_the_repr_shows_no_secret() -> None:
    assert "hidden" not in repr(Config(private_key="hidden", api_key="hidden", session="hidden"))


def test_a_missing_setting_names_its_variable() -> None:
    with pytest.raises(ConfigError) as caught:
        Config().require("billing")
    assert "LICET_BILLING_URL" in caught.value.remedy


def test_a_named_endpoints_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        Config.load({"LICET_ENDPOINTS": str(tmp_path / "absent.json")})


@pytest.mark.parametrize("content", ["", "{", "\x00"])
def test_a_broken_endpoints_file_is_an_error_and_not_a_default(tmp_path: Path, content: str) -> None:
    path = tmp_path / "endpoints.json"
    path.write_text(content)
    with pytest.raises(ConfigError):
        Config.load({"LICET_ENDPOINTS": str(path)})
