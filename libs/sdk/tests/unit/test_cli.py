"""The command line by itself: what it prints is what was said, and every error has one shape."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from licet_kit.testing.json_pages import serving
from licet_sdk.cli import doctor
from licet_sdk.cli.main import main
from licet_sdk.cli.output import Output
from licet_sdk.config import Config

Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Run:
    monkeypatch.chdir(tmp_path)  # no local stack's endpoints file

    def command(*args: str) -> int:
        monkeypatch.setattr("sys.argv", ["licet", *args])
        with pytest.raises(SystemExit) as left:
            main()
        return int(left.value.code or 0)

    return command


@pytest.mark.parametrize(
    "args",
    [
        ("buy",),
        ("buy", "one"),
        ("buy", "0"),
        ("buy", "9" * 96),
        ("delegate", "0", "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955"),
        ("undelegate",),
        ("nothing",),
        ("usage", "--limit", "0"),
        ("usage", "--colour"),
        ("deposit", "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955", "1e60"),
        ("mandate", "open", "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955", "--amount", "1"),
        ("mandate", "show"),
        ("mandate", "only"),
        ("credits", "open", "1", "--unit-price", "1"),
        ("credits", "buy", "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955", "0"),
        ("exit", "0x" + "11" * 32),
        ("withdraw", "0"),
    ],
)
def test_wrong_use_with_json_is_one_json_error(
    args: tuple[str, ...], run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*args, "--json") == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    error = json.loads(printed.err)
    assert error["error"] and error["message"] and error["remedy"]  # noqa: PT018 - all three, or it is no error


@pytest.mark.parametrize("name", ["[/]", "[red]hi", "a [link=https://x.example]b[/link]"])
def test_names_are_printed_as_they_are(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=False)
    output.show({"name": name, "key": "licet_live_x"})
    output.rows([{"name": name}], ["name"])
    assert capsys.readouterr().out.count(name) == 2


def test_a_missing_credential_says_where_it_comes_from(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LICET_BILLING_URL", "http://127.0.0.1:9")
    assert run("reconcile") == 2
    assert "LICET_OPERATOR_TOKEN_FILE: the local stack's is the file at operator_token_file" in (
        capsys.readouterr().err
    )


def test_a_service_that_is_away_is_one_json_error_and_nothing_else(
    run: Run, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LICET_BILLING_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("LICET_API_KEY", "key")
    assert run("usage", "--json") == 3
    printed = capfd.readouterr()
    assert printed.out == ""
    assert json.loads(printed.err)["error"] == "unreachable"


def result(config: Config, name: str) -> dict[str, str]:
    check = dict(doctor._checks(config))[name]
    return doctor._run(name, check, config)


def test_doctor_knows_another_server_from_the_service() -> None:
    with serving({"/openapi.json": {"info": {"title": "Licet licensing"}}}) as url:
        assert result(Config(licensing=url), "licensing")["result"] == "ok"
        wrong = result(Config(billing=url), "billing")
    assert wrong["result"] == "failed"
    assert "Licet licensing answers at" in wrong["detail"]
    assert "LICET_BILLING_URL" in wrong["remedy"]


def test_doctor_names_what_a_service_lacks() -> None:
    pages = {
        "/openapi.json": {"info": {"title": "Licet billing"}},
        "/readyz": {"status": "not ready", "checks": {"database": "no answer within 2 s", "kafka": "ok"}},
    }
    with serving(pages) as url:
        found = result(Config(billing=url, admin={"billing": url}), "billing")
    assert (found["result"], found["detail"]) == ("failed", "database: no answer within 2 s")
