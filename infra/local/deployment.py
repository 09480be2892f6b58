"""The contracts on the local chain and the operator's registration; skipped when both stand already."""

from __future__ import annotations

import hashlib
import json
import subprocess
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.chain import CHAIN_ID
from infra.local.errors import LocalError
from infra.local.keyring import GATEWAYS, Keyring
from infra.local.paths import CONTRACTS, ROOT, VENV
from infra.local.profile import read_json

SETTLER_CAP = 10**15  # a thousand million TestUSD a day: the cap is there, and no story meets it
DISPUTE_TIME_S = 8  # long enough for a script to challenge a line, short enough to wait for before a claim
TIMEOUT_S = 240  # a cold compile of every contract takes most of a minute on two slow cores
RPC_TIMEOUT_S = 10


class DeploymentFailed(LocalError):
    """A script ended non-zero; its output says why."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One chain's deployment for one profile."""

    rpc_url: str
    chains_file: Path
    keyring: Keyring
    stamp: Path
    log: Path
    # The second chain of a profile has the next id.
    second: bool = False

    @property
    def chain_id(self) -> int:
        """Id of the chain that this is about."""
        return CHAIN_ID + 1 if self.second else CHAIN_ID

    def run(self) -> None:
        """Deploy what is missing, register the operator, certify the gateways' keys."""
        answered = int(str(rpc(self.rpc_url, "eth_chainId")), 16)
        if answered != self.chain_id:
            raise DeploymentFailed(
                f"the chain at {self.rpc_url} has id {answered}: "
                f"the local stack needs a development chain, {self.chain_id}"
            )
        if self.stands():
            return
        self._deploy()
        self._script(
            "register_operator.py",
            *("--chains-file", str(self.chains_file), "--cap", str(SETTLER_CAP)),
            *("--chain-id", str(self.chain_id)),
            *("--private-key-file", str(self.keyring.path("operator.key"))),
            *("--receipt-key", self.keyring.address("receipt.key")),
        )
        for gateway in GATEWAYS:
            self.keyring.certify(gateway, self.chains_file)
        self.stamp.parent.mkdir(parents=True, exist_ok=True)
        self.stamp.write_text(self._key())

    def _deploy(self) -> None:
        try:
            self._script(
                "deploy.py",
                *("--rpc-url", self.rpc_url, "--out", str(self.chains_file)),
                *("--operator", self.keyring.address("operator.key")),
                # Governance's choice on a development chain: who serves here also says who owns assets elsewhere.
                *("--mirror-reporter", self.keyring.address("operator.key")),
                *("--chain-name", "local-2" if self.second else "local"),
                *("--dispute-time-s", str(DISPUTE_TIME_S)),
                *("--private-key-file", str(self.keyring.path("deployer.key"))),
            )
        except DeploymentFailed as error:
            if not self.stamp.exists():
                raise
            # Other code has other addresses, and the first contracts' roles are out of the deployer's hands by now.
            raise DeploymentFailed(
                f"{error}\nthis chain has contracts of an earlier checkout: begin it anew with make up ARGS=--fresh"
            ) from error

    def stands(self) -> bool:
        """Whether this very code was deployed here, and the chain still has it."""
        if not self.stamp.exists() or self.stamp.read_text() != self._key():
            return False
        chains = (read_json(self.chains_file) or {"chains": []})["chains"]
        ours = [chain for chain in chains if chain["chain_id"] == self.chain_id]
        addresses = [address for chain in ours for address in chain["contracts"].values()]
        return bool(addresses) and all(self._has_code(address) for address in addresses)

    def _key(self) -> str:
        """Digest of the sources, the chain's address and the identities."""
        identities = [self.keyring.path(name).read_text() for name in ("operator.key", "receipt.key")]
        replicas = [self.keyring.path(f"{name}.key").read_text() for name in GATEWAYS]
        return digest(self._sources(), self.rpc_url, *identities, *replicas)

    def _sources(self) -> list[Path]:
        found = [*CONTRACTS.glob("src/**/*.sol"), *CONTRACTS.glob("script/**/*.py")]
        return sorted([*found, CONTRACTS / "foundry.toml", CONTRACTS / "package-lock.json"])

    def _has_code(self, address: str) -> bool:
        return str(rpc(self.rpc_url, "eth_getCode", address, "latest")) not in {"0x", "None"}

    def _script(self, name: str, *args: str) -> None:
        argv = [str(VENV / "bin" / "python"), str(CONTRACTS / "script" / name), *args]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("a") as log:
            log.write(f"$ {' '.join(argv)}\n{done.stdout}{done.stderr}")
        if done.returncode != 0:
            raise DeploymentFailed(f"{name} failed: {done.stderr.strip()[-2000:]}")


def digest(files: Iterable[Path], *texts: str) -> str:
    """One digest over the content of files, in order, and some texts."""
    total = hashlib.sha256()
    for path in files:
        total.update(hashlib.sha256(path.read_bytes()).digest())
    for text in texts:
        total.update(hashlib.sha256(text.encode()).digest())
    return total.hexdigest()


def rpc(url: str, method: str, *params: Any) -> Any:
    """Result of one JSON-RPC call, without the machine's HTTP proxy."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})  # noqa: S310 - our own setting
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=RPC_TIMEOUT_S) as answer:
        return json.loads(answer.read()).get("result")
