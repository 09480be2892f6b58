"""What a deployment says when it cannot be done."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from infra.local import deployment
from infra.local.chain import CHAIN_ID
from infra.local.deployment import Deployment, DeploymentFailed
from infra.local.keyring import Keyring


@pytest.mark.parametrize("before", [False, True])
def test_a_chain_with_earlier_contracts_is_to_be_begun_anew(
    before: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(argv: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(argv, 1, "", "deploy: not ours any more")

    monkeypatch.setattr(deployment, "rpc", lambda *_: hex(CHAIN_ID))
    monkeypatch.setattr(subprocess, "run", fails)
    keyring = Keyring(tmp_path / "secrets")
    keyring.make()
    made = Deployment("http://chain", tmp_path / "chains.json", keyring, tmp_path / "stamp", tmp_path / "log")
    if before:
        made.stamp.write_text("of other sources")

    with pytest.raises(DeploymentFailed, match="not ours any more") as failed:
        made.run()

    assert ("make up ARGS=--fresh" in str(failed.value)) is before
