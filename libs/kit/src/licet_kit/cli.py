"""The command line that every service shares: run, `migrate`, `release`, `--check-config`."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import uvloop

from licet_kit import lifecycle
from licet_kit.errors import LicetError, PermanentError
from licet_kit.health import Health, admin_app
from licet_kit.http import serve_http
from licet_kit.kafka import operations
from licet_kit.lifecycle import Service
from licet_kit.logs import configure_logging, get_logger
from licet_kit.migrations import migrate
from licet_kit.settings import (
    ChainsSettings,
    PostgresSettings,
    ServiceSettings,
    SettingsInvalid,
    load_settings,
)
from licet_kit.telemetry import Telemetry, start_telemetry

log = get_logger(__name__)

S = TypeVar("S", bound=ServiceSettings)

EXIT_FAILED = 1
# As sysexits.h has it: the configuration is wrong, and a restart will not help.
EXIT_CONFIG = 78


_DATABASE_COMMANDS = frozenset({"migrate", "quarantine", "replay"})


class NotHeld(PermanentError):
    """A replay of a key that is not in quarantine."""

    code = "not_held"


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a process gives to its parts."""

    health: Health
    telemetry: Telemetry


Build = Callable[[S, Runtime], AbstractAsyncContextManager[Sequence[Service]]]


def main(
    settings_cls: type[S],
    build: Build[S],
    *,
    migrations: Path | None = None,
    argv: Sequence[str] | None = None,
) -> int:
    """Run a service's command and return its exit status.

    `build` is an async context manager: it opens what the service needs, yields the parts to run, and closes it all.
    """
    arguments = _parser(settings_cls.service_name, migrations is not None).parse_args(argv)
    settings = _settings(settings_cls)
    if settings is None:
        return EXIT_CONFIG
    if arguments.check_config:
        print(f"{settings_cls.service_name}: the configuration is valid")  # noqa: T201  the command's answer
        return 0
    configure_logging(level=settings.log_level, style=settings.log_format, service=settings.service_name)
    try:
        if arguments.command in _DATABASE_COMMANDS:
            uvloop.run(_on_database(arguments, settings, migrations))
        else:
            uvloop.run(_run(settings, build))
    except Exception as error:
        for leaf in _leaves(error):
            if isinstance(leaf, LicetError):
                log.error("process.failed", error=str(leaf), code=leaf.code)
            else:
                log.critical("process.crashed", exc_info=leaf)
        return EXIT_FAILED
    return 0


def _settings(settings_cls: type[S]) -> S | None:
    """Read the settings and the files that they name; says what is wrong with them."""
    try:
        settings = load_settings(settings_cls)
        if isinstance(settings, ChainsSettings):
            settings.chains()
    except LicetError as error:
        for line in str(error).splitlines():
            print(f"{settings_cls.service_name}: {line}", file=sys.stderr)  # noqa: T201  before there are logs
        return None
    return settings


def _parser(service: str, has_database: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m licet_{service}", description=f"Licet's {service} service"
    )
    parser.add_argument("--check-config", action="store_true", help="validate the settings and exit")
    commands = parser.add_subparsers(dest="command", title="commands")
    commands.add_parser("run", help="run the service (default)")
    if has_database:
        commands.add_parser("migrate", help="bring the database to this version's schema")
        commands.add_parser("quarantine", help="list the keys that are held back, one JSON object a line")
        replay = commands.add_parser("replay", help="have the running service try a held key again")
        replay.add_argument("topic", help="the topic, without prefix")
        replay.add_argument("key", help="the key, as `quarantine` shows it")
    return parser


async def _on_database(
    arguments: argparse.Namespace, settings: ServiceSettings, migrations: Path | None
) -> None:
    if not isinstance(settings, PostgresSettings) or migrations is None:
        raise SettingsInvalid(f"{settings.service_name} has no database")
    url = settings.database_url
    match arguments.command:
        case "migrate":
            log.info("database.migrated", revision=await migrate(url, migrations))
        case "quarantine":
            for held in await operations.quarantined(url):
                print(json.dumps(held, default=str))  # noqa: T201  the command's answer
        case "replay":
            count = await operations.request_replay(url, topic=arguments.topic, key=arguments.key)
            if not count:
                raise NotHeld(f"the key {arguments.key} of {arguments.topic} is not in quarantine")
            log.info("quarantine.replay_requested", topic=arguments.topic, key=arguments.key)


async def _run(settings: S, build: Build[S]) -> None:
    telemetry = start_telemetry(settings.service_name, endpoint=settings.otel_endpoint)
    runtime = Runtime(Health(), telemetry)
    try:
        async with build(settings, runtime) as services:
            host, port = settings.admin_address
            admin = serve_http(admin_app(runtime.health, telemetry.registry), host, port)
            log.info("process.started", host=host, http_port=settings.http_port, admin_port=port)
            await lifecycle.run(admin, *services)
    finally:
        await asyncio.to_thread(telemetry.stop)
    log.info("process.stopped")


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
