"""The installer repeats nothing, resumes where it was cut off, and hands on the machine's own settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.local import installer
from infra.local.installer import Step, StepFailed, uv_pin
from infra.local.pip_settings import network_environment, translate


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installer, "STAMPS", tmp_path / "stamps")
    monkeypatch.setattr(installer, "LOG", tmp_path / "install.log")
    monkeypatch.setattr(installer, "LOCAL", tmp_path)


def install(monkeypatch: pytest.MonkeyPatch, *steps: Step) -> int:
    monkeypatch.setattr(installer, "every_step", lambda: list(steps))
    return installer.main()


def step(name: str, runs: list[str], inputs: tuple[str, ...] = ("1",), *, fails: bool = False) -> Step:
    def run() -> None:
        runs.append(name)
        if fails:
            raise StepFailed("uv ended with 2")

    return Step(name, f"the {name}", lambda: inputs, run)


def test_a_second_run_does_nothing_and_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs: list[str] = []
    steps = [step("venv", runs), step("packages", runs)]

    assert install(monkeypatch, *steps) == 0
    assert "[2/2] the packages: " in capsys.readouterr().out
    assert install(monkeypatch, *steps) == 0
    assert capsys.readouterr().out == ""
    assert runs == ["venv", "packages"]


def test_a_failed_run_goes_on_where_it_stopped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs: list[str] = []

    assert (
        install(monkeypatch, step("venv", runs), step("packages", runs, fails=True), step("kafka", runs)) == 1
    )
    assert "[2/3] the packages failed (uv ended with 2); all output is in" in capsys.readouterr().err
    assert install(monkeypatch, step("venv", runs), step("packages", runs), step("kafka", runs)) == 0
    assert runs == ["venv", "packages", "packages", "kafka"]


def test_a_changed_lock_runs_its_step_again(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []

    install(monkeypatch, step("venv", runs), step("packages", runs))
    install(monkeypatch, step("venv", runs), step("packages", runs, inputs=("2",)))

    assert runs == ["venv", "packages", "packages"]


def test_a_command_that_fails_fails_its_step_and_leaves_its_output_in_the_log(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="sh ended with 3"):
        installer.run(["sh", "-c", "echo no such index >&2; exit 3"])

    assert "no such index" in (tmp_path / "install.log").read_text()


def test_uv_is_pinned_by_the_lock_with_hashes() -> None:
    lines = uv_pin().splitlines()

    assert lines[0].startswith("uv==")
    assert len(lines) > 1
    assert all("--hash=sha256:" in line for line in lines[1:])
    assert not lines[-1].endswith("\\")


def test_pip_settings_become_uvs() -> None:
    listed = "\n".join(
        [
            ":env:.timeout='60'",
            "global.cert='/etc/ssl/own.pem'",
            "global.extra-index-url='\\nhttps://a.example/simple\\nhttps://b.example/simple'",
            "global.index-url='https://mirror.example/simple'",
            "global.timeout='15'",
            "install.no-warn-script-location='true'",
        ]
    )

    assert translate(listed) == {
        "UV_HTTP_TIMEOUT": "60",
        "SSL_CERT_FILE": "/etc/ssl/own.pem",
        "UV_INDEX": "https://a.example/simple https://b.example/simple",
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
    }


def test_a_certificate_of_pip_is_given_to_maven_and_npm_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho \"global.cert='/etc/ssl/own.pem'\"\n")
    python.chmod(0o755)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"):
        monkeypatch.delenv(name, raising=False)

    found = network_environment(str(python))

    assert (
        found["SSL_CERT_FILE"]
        == found["REQUESTS_CA_BUNDLE"]
        == found["NODE_EXTRA_CA_CERTS"]
        == "/etc/ssl/own.pem"
    )


def test_what_the_environment_sets_goes_before_pips_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho \"global.cert='/etc/ssl/own.pem'\"\n")
    python.chmod(0o755)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/mine.pem")

    assert network_environment(str(python))["REQUESTS_CA_BUNDLE"] == "/etc/ssl/mine.pem"


def test_link_folders_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    listed = f"global.find-links='/no/such/folder {tmp_path} https://wheels.example/'"

    assert translate(listed) == {"UV_FIND_LINKS": f"{tmp_path},https://wheels.example/"}
    assert translate("global.find-links='/no/such/folder'") == {}
