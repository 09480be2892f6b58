"""Checks each dependency of a caller and says how to mend it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import typer

from licet_sdk.chain import Chain, as_licet_error
from licet_sdk.cli.output import Output
from licet_sdk.config import Config
from licet_sdk.errors import LicetError
from licet_sdk.http import Service

Check = tuple[str, Callable[[Config], str]]


def doctor(context: typer.Context) -> None:
    """Checks configuration, chain, contracts, services and gateway replicas; exit code 1 when one fails."""
    output: Output = context.obj
    config = Config.load()
    rows = [_run(name, check, config) for name, check in _checks(config)]
    output.rows(rows, ["check", "result", "detail", "remedy"], "licet doctor")
    if any(row["result"] != "ok" for row in rows):
        raise typer.Exit(1)


def _run(name: str, check: Callable[[Config], str], config: Config) -> dict[str, str]:
    started = time.monotonic()
    try:
        detail = check(config)
    except LicetError as error:
        return {"check": name, "result": "failed", "detail": error.message, "remedy": error.remedy}
    took_ms = (time.monotonic() - started) * 1000
    return {"check": name, "result": "ok", "detail": f"{detail} ({took_ms:.0f} ms)", "remedy": ""}


def _checks(config: Config) -> list[Check]:
    services: list[Check] = [
        (name, partial(_service, name=name)) for name in ("licensing", "indexer", "billing", "vault")
    ]
    replicas: list[Check] = [
        (f"gateway {i}", partial(_replica, url=url)) for i, url in enumerate(config.gateway or ("",))
    ]
    return [("chain", _chain), ("contracts", _contracts), ("mirror", _mirror), *services, *replicas]


def _chain(config: Config) -> str:
    chain = Chain(config)
    block = _call(chain, partial(getattr, chain.w3.eth, "block_number"))
    return f"chain {chain.chain_id} at block {block}"


def _contracts(config: Config) -> str:
    chain = Chain(config)
    missing = [n for n, a in chain.addresses.items() if not _call(chain, partial(_code, chain, a))]
    if missing:
        raise LicetError(
            "contracts_missing", f"no code at {', '.join(missing)}", "run `make down up` to deploy"
        )
    return f"{len(chain.addresses)} contracts in {Path(config.require('chains_file')).name}"


def _mirror(config: Config) -> str:
    with Service("indexer", config.require("indexer")) as indexer:
        states = indexer.get("/v1/chains")["data"]
    if not states:
        raise LicetError(
            "mirror_empty", "the indexer follows no chain yet", "read its log: make logs ARGS=indexer"
        )
    state = states[0]
    return f"head {state['head']['block_number']}, final {state['final']['block_number']}"


def _service(config: Config, name: str) -> str:
    return _ready(name, config.require(name), "/openapi.json")


def _replica(config: Config, url: str) -> str:
    return _ready("gateway", url or config.require("gateway"), "/v2/health/ready")


def _ready(name: str, url: str, path: str) -> str:
    with Service(name, url) as service:
        service.probe(path)
    return url


def _code(chain: Chain, address: str) -> bytes:
    return bytes(chain.w3.eth.get_code(chain.w3.to_checksum_address(address)))


def _call(chain: Chain, ask: Callable[[], object]) -> object:
    try:
        return ask()
    except Exception as error:
        raise as_licet_error(error, chain.rpc_url) from error
