"""Only the listed routes exist."""

from __future__ import annotations

import pytest
from licet_gateway.dataplane.routes import Action, Operation, Route, find_route


@pytest.mark.parametrize(
    ("method", "target", "route"),
    [
        (b"POST", b"/v2/models/acme.risk/infer", Route(Action.INFER, "acme/risk")),
        (
            b"POST",
            b"/v2/models/acme.risk/generate",
            Route(Action.INFER, "acme/risk", Operation.GENERATE),
        ),
        (
            b"POST",
            b"/v2/models/acme.risk/generate_stream",
            Route(Action.INFER, "acme/risk", Operation.GENERATE_STREAM),
        ),
        (b"GET", b"/v2/models/acme.risk/ready", Route(Action.MODEL_READY, "acme/risk")),
        (b"GET", b"/v2/models/a-1.b-2", Route(Action.MODEL_METADATA, "a-1/b-2")),
        (b"GET", b"/v2/health/live", Route(Action.LIVE)),
        (b"GET", b"/v2/health/ready", Route(Action.READY)),
    ],
)
def test_a_listed_route_is_found(method: bytes, target: bytes, route: Route) -> None:
    assert find_route(method, target) == route


@pytest.mark.parametrize(
    ("method", "target"),
    [
        (b"POST", b"/v2/models/acme.risk/versions/1/infer"),
        (b"GET", b"/v2/models/acme.risk/versions/1/ready"),
        (b"GET", b"/v2/models/acme.risk/infer"),
        (b"PUT", b"/v2/models/acme.risk/infer"),
        (b"POST", b"/v2/models/acme.risk-0123456789abcdef/../x.y/infer"),
        (b"POST", b"/v2/models/acme/infer"),
        (b"POST", b"/v2/models/acme.risk.x/infer"),
        (b"POST", b"/v2/models/Acme.risk/infer"),
        (b"POST", b"/v2/models/acme%2erisk/infer"),
        (b"POST", b"/v2/models/acme.risk/infer?x=1"),
        (b"POST", b"/v2/models/acme.risk/infer/"),
        (b"POST", b"//v2/models/acme.risk/infer"),
        (b"POST", b"/v2/models/" + b"a" * 40 + b".risk/infer"),
        (b"POST", b"/v2/repository/index"),
        (b"POST", b"/v2/repository/models/acme.risk/load"),
        (b"POST", b"/v2/systemsharedmemory/region/x/register"),
        (b"GET", b"/v2/models/acme.risk/generate"),
        (b"POST", b"/v2/models/acme.risk/generate_streams"),
        (b"POST", b"/v2/models/acme.risk/versions/1/generate"),
        (b"GET", b"/v2/models/stats"),
        (b"GET", b"/v2/logging"),
        (b"GET", b"/metrics"),
        (b"GET", b"/v2"),
        (b"GET", b"/"),
    ],
)
def test_everything_else_does_not_exist(method: bytes, target: bytes) -> None:
    assert find_route(method, target) is None
