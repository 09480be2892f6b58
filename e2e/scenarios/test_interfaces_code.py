"""Tables of docs/architecture/interfaces.md that live in code: refusal codes, settings and command lines."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache

import pytest

from e2e.scenarios.test_interfaces import PAGE, table

SERVICES = {
    "INDEXER_": ("licet_indexer", "IndexerSettings"),
    "LICENSING_": ("licet_licensing", "LicensingSettings"),
    "GATEWAY_": ("licet_gateway", "GatewaySettings"),
    "BILLING_": ("licet_billing", "BillingSettings"),
    "VAULT_": ("licet_vault", "VaultSettings"),
}
# Log level, log form and production mode: not on this page.
PROCESS_WIDE = "LICET_"


def printed(program: str) -> object:
    """What a program prints as JSON; services are asked in their own process, because scenarios import none."""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def section(heading: str) -> str:
    """The text below a heading."""
    return PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]


def shared() -> set[str]:
    """The shared variables, as the page says."""
    names = re.findall(r"`([A-Z][A-Z_]*[A-Z])`", section("Environment"))
    return {n for n in names if n != "_FILE"}


# Prints the variables of a settings class, and what it says when only NAME_FILE is set, to a file that is not there.
VARIABLES = """
import json, os
from licet_kit.settings import SettingsInvalid, environment_names, load_settings
from {module}.settings import {settings} as settings

def said(name):
    os.environ.clear()
    os.environ[name + "_FILE"] = "/absent"
    try:
        load_settings(settings)
    except SettingsInvalid as error:
        return str(error)

print(json.dumps({{name: said(name) for name in environment_names(settings).values()}}))
"""


@cache
def accepted(module: str, settings: str) -> dict[str, str]:
    """Each environment variable of a settings class, and what an unreadable NAME_FILE for it leads to."""
    answer = printed(VARIABLES.format(module=module, settings=settings))
    assert isinstance(answer, dict)
    return answer


def test_refusal_codes_and_statuses_are_the_gateways() -> None:
    program = "import json; from licet_gateway.domain import REFUSAL_STATUS as s; print(json.dumps(dict(s)))"
    assert {code: int(status) for code, status, _ in table("Refusals")} == printed(program)


def test_licensing_denies_with_codes_of_the_page() -> None:
    program = "import json; from licet_licensing.domain.codes import Code; print(json.dumps([c.value for c in Code]))"
    codes = printed(program)
    assert isinstance(codes, list)
    assert set(codes) - {"ok"} <= {row[0] for row in table("Refusals")}


def test_settings_have_the_prefixes_of_the_page() -> None:
    said = set(re.findall(r"`([A-Z]+_)`", section("Environment")))
    assert said == set(SERVICES)


def test_unprefixed_settings_are_the_shared_ones_of_the_page() -> None:
    found: set[str] = set()
    for prefix, (module, settings) in SERVICES.items():
        found |= {n for n in accepted(module, settings) if not n.startswith((prefix, PROCESS_WIDE))}
    assert found == shared()


@pytest.mark.parametrize("prefix", SERVICES)
def test_every_setting_has_a_file_form(prefix: str) -> None:
    found = accepted(*SERVICES[prefix])
    assert found
    assert {n: said for n, said in found.items() if f"{n}_FILE: cannot read /absent" not in said} == {}


@pytest.mark.parametrize("prefix", SERVICES)
def test_check_config_names_a_file_form_of_what_is_missing(prefix: str) -> None:
    module, _ = SERVICES[prefix]
    run = subprocess.run(
        [sys.executable, "-m", module, "--check-config"], capture_output=True, text=True, env={}, check=False
    )
    assert run.returncode != 0
    assert "KAFKA_BOOTSTRAP_FILE" in run.stdout + run.stderr


@pytest.mark.parametrize("prefix", SERVICES)
def test_every_service_with_a_database_takes_migrate(prefix: str) -> None:
    module, settings = SERVICES[prefix]
    owns = "DATABASE_URL" in accepted(module, settings)
    run = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=False
    )
    assert ("migrate" in run.stdout) == owns, run.stdout
