"""Checks each dependency of a caller and says how to mend it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import typer

from licet_sdk.cli.output import Output
from licet_sdk.config import Config
from licet_sdk.errors import LicetError
from licet_sdk.http import TIMEOUT_S, Service

if TYPE_CHECKING:
    from licet_sdk.chain import Chain

Check = tuple[str, Callable[[Config], str]]

# What each service calls itself in its OpenAPI document.
TITLES = {
    "licensing": "Licet licensing",
    "indexer": "Licet chain indexer",
    "billing": "Licet billing",
    "vault": "Licet model-vault",
}


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
    services: list[Check] = [(name, partial(_service, name=name)) for name in TITLES]
    replicas: list[Check] = [
        (f"gateway {i}", partial(_replica, url=url)) for i, url in enumerate(config.gateway or ("",))
    ]
    return [("chain", _chain), ("contracts", _contracts), ("mirror", _mirror), *services, *replicas]


def _chain(config: Config) -> str:
    chain = _open(config)
    block = _call(chain, partial(getattr, chain.w3.eth, "block_number"))
    return f"chain {chain.chain_id} at block {block}"


def _contracts(config: Config) -> str:
    chain = _open(config)
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
    url = config.require(name)
    with Service(name, url) as service:
        document = service.get("/openapi.json")
    title = document.get("info", {}).get("title") if isinstance(document, dict) else None
    if title != TITLES[name]:
        raise LicetError(
            "wrong_service", f"{title or 'another server'} answers at {url}", f"mend LICET_{name.upper()}_URL"
        )
    if admin := config.admin.get(name):
        _check_ready(name, admin)
    return url


def _check_ready(name: str, admin: str) -> None:
    """Asks the service itself whether all that it needs is there."""
    try:
        response = httpx2.get(f"{admin}/readyz", timeout=TIMEOUT_S)
        checks = response.json()["checks"]
    except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
        raise LicetError(
            "not_ready", f"{admin} does not say how it is: {error}", f"read its log: make logs ARGS={name}"
        ) from error
    if failed := [f"{part}: {state}" for part, state in checks.items() if state != "ok"]:
        raise LicetError("not_ready", "; ".join(failed), f"mend that, or read its log: make logs ARGS={name}")


def _replica(config: Config, url: str) -> str:
    url = url or config.require("gateway")
    with Service("gateway", url) as service:
        service.probe("/v2/health/ready")
    return url


def _open(config: Config) -> Chain:
    from licet_sdk.chain import Chain  # noqa: PLC0415 - loads web3, which most commands do not need

    return Chain(config)


def _code(chain: Chain, address: str) -> bytes:
    return bytes(chain.w3.eth.get_code(chain.w3.to_checksum_address(address)))


def _call(chain: Chain, ask: Callable[[], object]) -> object:
    from licet_sdk.chain import as_licet_error  # noqa: PLC0415 - as above

    try:
        return ask()
    except Exception as error:
        raise as_licet_error(error, chain.rpc_url) from error
