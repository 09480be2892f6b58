"""Structured logs: one event with a constant name and fields, as JSON or for a terminal."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, cast

import structlog
from opentelemetry import trace
from structlog.typing import FilteringBoundLogger, Processor

# Fields with such a name never reach a log, whoever passes them.
_SECRET_FIELD = re.compile(
    r"(password|secret|token$|api_key|private_key|signature|authorization|credential|mnemonic)"
)
_URL_PASSWORD = re.compile(r"(?P<before>\w://[^/\s:@]*):[^/\s@]+@")

# These name a thing that ends like a secret but is an identifier.
_PUBLIC_FIELDS = frozenset({"credential_kind"})


def configure_logging(*, level: str = "info", style: str = "json", service: str = "") -> None:
    """Send all logs of the process, the standard library's too, to stderr in one style ("json" or "console")."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
        _hide_secrets,
    ]
    renderer: Processor = structlog.processors.JSONRenderer()
    if style == "console":
        renderer = console_renderer(colors=sys.stderr.isatty())
    else:
        shared.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(level.upper())
    # Their INFO lines repeat on every reconnect and name nothing that our own events do not.
    for chatty in ("aiokafka", "alembic", "faststream", "granian", "_granian"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.root.level))
    structlog.contextvars.clear_contextvars()
    if service:
        structlog.contextvars.bind_contextvars(service=service)


def console_renderer(*, colors: bool) -> Processor:
    """Return what renders events for people.

    Tracebacks are plain: structlog's own would show every local variable, keys and passwords among them, and take
    seconds for a deep one.
    """
    return structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)


def get_logger(name: str) -> FilteringBoundLogger:
    """Return the logger of a module; call it as `log.info("thing.happened", field=value)`."""
    return cast("FilteringBoundLogger", structlog.stdlib.get_logger(name))


def _add_trace(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event


def _hide_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if name not in _PUBLIC_FIELDS and _SECRET_FIELD.search(name.lower()):
            event[name] = "[hidden]"
        elif isinstance(value, str):
            event[name] = _URL_PASSWORD.sub(r"\g<before>:[hidden]@", value)
    return event
