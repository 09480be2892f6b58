"""Logs, traces and metrics: what is in them, and what never is."""

import json
import logging
from collections.abc import Iterator

import pytest
from licet_kit.logs import configure_logging, get_logger
from licet_kit.telemetry import extract, inject
from licet_kit.telemetry.prometheus import OpenTelemetryCollector
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_an_event_is_one_line_of_json_with_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(service="words")
    get_logger("test").info("usage.recorded", units=3)
    logging.getLogger("library").warning("said %s", "something")
    ours, theirs = lines(capsys)
    assert (ours["event"], ours["units"], ours["level"], ours["service"]) == (
        "usage.recorded",
        3,
        "info",
        "words",
    )
    assert (theirs["event"], theirs["level"]) == ("said something", "warning")


def test_secrets_do_not_reach_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    get_logger("test").warning(
        "login",
        api_key="k1",
        worker_token="k2",
        signature="k3",
        authorization="k4",
        password="k5",
        private_key="k6",
        url="postgresql://user:k7@host/db",
        token_id="12",
    )
    (line,) = lines(capsys)
    text = json.dumps(line)
    assert not [
        secret
        for secret in ("k1", "k2", "k3", "k4", "k5", "k6", "k7")
        if f'"{secret}"' in text or f":{secret}@" in text
    ]
    assert line["token_id"] == "12"


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_traceback_shows_no_variable(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(style=style)
    secret = "-".join(("k", "8"))
    try:
        raise ValueError("broken")
    except ValueError:
        get_logger("test").exception("work.failed")
    text = capsys.readouterr().err
    assert "ValueError: broken" in text
    assert secret not in text


def test_less_than_the_level_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="warning")
    get_logger("test").info("quiet")
    assert lines(capsys) == []


def test_a_log_line_names_its_span(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    with TracerProvider().get_tracer("test").start_as_current_span("work") as span:
        get_logger("test").info("inside")
    (line,) = lines(capsys)
    assert line["trace_id"] == f"{span.get_span_context().trace_id:032x}"


def test_the_trace_goes_on_behind_a_carrier() -> None:
    tracer = TracerProvider().get_tracer("test")
    carrier: dict[str, str] = {}
    with tracer.start_as_current_span("producer") as producer:
        inject(carrier)
    with tracer.start_as_current_span("consumer", context=extract(carrier)) as consumer:
        assert consumer.get_span_context().trace_id == producer.get_span_context().trace_id
        assert isinstance(consumer, trace.Span)
    assert list(carrier) == ["traceparent"]


def test_outside_of_a_span_nothing_is_injected() -> None:
    carrier: dict[str, str] = {}
    inject(carrier)
    assert carrier == {}


def test_every_instrument_has_a_prometheus_form() -> None:
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("test")
    meter.create_counter("licet.outbox.published").add(3, {"topic": "a"})
    meter.create_up_down_counter("licet.consumer.waiting").add(-2)
    meter.create_gauge("licet.level").set(7)
    delay = meter.create_histogram("licet.outbox.delay", unit="s", explicit_bucket_boundaries_advisory=[1, 5])
    for value in (0.5, 3, 100):
        delay.record(value, {"topic": "a"})
    registry = CollectorRegistry()
    registry.register(OpenTelemetryCollector(reader))
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }
    assert samples[("licet_outbox_published_total", "a")] == 3
    assert samples[("licet_consumer_waiting",)] == -2
    assert samples[("licet_level",)] == 7
    name = "licet_outbox_delay_seconds"
    assert [samples[(f"{name}_bucket", bound, "a")] for bound in ("1.0", "5.0", "+Inf")] == [1, 2, 3]
    assert samples[(f"{name}_sum", "a")] == 103.5
