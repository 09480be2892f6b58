"""Headers, refusals and bodies of docs/architecture/interfaces.md, as running gateways and services send them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import httpx2
import pytest
from licet_sdk.chain import PlanOffer

from e2e.demo import books, calls, story
from e2e.observe import eventually
from e2e.scenarios.conftest import Buyer, Installation
from e2e.scenarios.test_interfaces import PAGE, table
from e2e.traffic import infer_request

OURS = re.compile(r"x-licet-|ratelimit|retry-after|www-authenticate")
STATUS = {code: int(status) for code, status, _ in table("Refusals")}
HEADERS = {
    name.lower() for name in re.findall(r"`([\w-]+)`", PAGE.split("## Headers\n", 1)[1].split("\n## ", 1)[0])
}


@pytest.fixture(scope="module")
def gateway(installation: Installation) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=installation.world.config.gateway[0]) as client:
        yield client


@pytest.fixture(scope="module")
def hurried(installation: Installation, make_buyer: Callable[..., Buyer]) -> str:
    """The key of a buyer whose plan allows two requests a second."""
    world, notes = installation.world, installation.notes
    buyer = make_buyer()
    offer = PlanOffer(
        price=1,
        period_s=86_400,
        included_units=1_000,
        unit_price=0,
        requests_per_s=2,
        metering_rule="rows:FEATURES",
        server=world.actor("operator").address,
        terms_digest=books.digest_of(story.TERMS),
    )
    plan, _ = world.client("publisher").chain.create_plan(notes["asset_id"], offer)
    # It lasts a day and the plan of the story a month: the one that ends first is used first.
    token_id, _ = world.client(buyer.name).chain.buy(plan)
    eventually(lambda: books.grant(world, "license", token_id)["free"] > 0, "the license is final")
    return str(notes[f"{buyer.name}_key"])


def call(gateway: httpx2.Client, key: str) -> httpx2.Response:
    path, body, headers = infer_request(key)
    return gateway.post(path, content=body, headers=headers)


def ours(response: httpx2.Response) -> set[str]:
    return {name.lower() for name in response.headers if OURS.match(name.lower())}


def test_served_and_refused_calls_carry_the_headers_of_the_page(gateway: httpx2.Client, hurried: str) -> None:
    answers = [call(gateway, hurried) for _ in range(12)]
    served = next(a for a in answers if a.status_code == 200)
    limited = next(a for a in answers if a.status_code != 200)
    stranger = gateway.post(f"/v2/models/{calls.MODEL}/infer", content=b"{}")
    assert limited.json()["code"] == "rate_limited"
    assert int(limited.headers["retry-after"]) >= 1
    assert stranger.headers["www-authenticate"] == "Bearer"
    assert ours(served) | ours(limited) | ours(stranger) == HEADERS


def test_a_refusal_on_a_kserve_route_has_the_pages_status_and_body(
    gateway: httpx2.Client, installation: Installation, hurried: str
) -> None:
    bearer = {"authorization": f"Bearer {hurried}"}
    path = f"/v2/models/{calls.MODEL}/infer"
    refused = {
        "credential_missing": gateway.post(path, content=b"{}"),
        "credential_invalid": call(gateway, books.well_formed_key()),
        "model_unknown": gateway.post("/v2/models/a.b/infer", content=b"{}", headers=bearer),
        "request_too_large": gateway.post(path, content=b"x" * (65 << 20), headers=bearer),
        "rate_limited": next(a for _ in range(50) if (a := call(gateway, hurried)).status_code != 200),
    }
    for code, answer in refused.items():
        assert answer.status_code == STATUS[code], code
        body = answer.json()
        assert body["code"] == code
        assert set(body) == {"error", "code", "remedy"}, body
        assert body["error"], code
        assert body["remedy"], code


@pytest.mark.parametrize(
    ("service", "path"),
    [("licensing", "/v1/account"), ("billing", "/v1/usage"), ("vault", "/v1/artifacts/0x00")],
)
def test_a_refusal_elsewhere_is_problem_json(service: str, path: str, installation: Installation) -> None:
    url = installation.world.endpoints[service]["http"] + path
    answer = httpx2.put(url, content=b"x") if service == "vault" else httpx2.get(url)
    body = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code == STATUS[body["code"]] == body["status"]
    assert body["code"] == "credential_missing"
    assert body["remedy"]
