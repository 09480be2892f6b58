"""The error edge of HTTP apps."""

from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from licet_kit.errors import PermanentError, RetryableError, Unavailable
from licet_kit.problems import MEDIA_TYPE, Problem, install
from pydantic import BaseModel


class WordUnknown(PermanentError):
    """There is no such word."""

    code = "word_unknown"


class WordForbidden(WordUnknown):
    """There is one, but not for everybody."""

    code = "word_forbidden"
    remedy = "ask somebody"


class Body(BaseModel):
    """What a route takes."""

    count: int


ERRORS: dict[str, Exception] = {
    "unknown": WordUnknown("no word x"),
    "forbidden": WordForbidden("no"),
    "retryable": RetryableError("busy"),
    "away": Unavailable("away"),
    "permanent": PermanentError("never"),
    "bug": ZeroDivisionError("a secret detail"),
    "problem": Problem(402, "payment_required", "pay", headers={"x-a": "b"}, remedy="money"),
}


@pytest.fixture
def client() -> httpx2.AsyncClient:
    app = FastAPI()
    install(app, {WordUnknown: 404})

    @app.get("/raise/{name}")
    async def fail(name: str) -> None:
        raise ERRORS[name]

    @app.post("/body")
    async def body(body: Body) -> int:
        return body.count

    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://test")


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("unknown", 404, "word_unknown"),
        ("forbidden", 404, "word_forbidden"),
        ("retryable", 503, "retryable"),
        ("away", 503, "unavailable"),
        ("permanent", 400, "permanent"),
        ("bug", 500, "internal"),
        ("problem", 402, "payment_required"),
    ],
)
async def test_an_error_has_the_status_of_its_nearest_class(
    client: httpx2.AsyncClient, name: str, status: int, code: str
) -> None:
    response = await client.get(f"/raise/{name}")
    answer: dict[str, Any] = response.json()
    assert response.headers["content-type"] == MEDIA_TYPE
    assert (response.status_code, answer["status"], answer["code"]) == (status, status, code)
    assert "secret detail" not in response.text


async def test_a_problem_carries_its_headers_and_members(client: httpx2.AsyncClient) -> None:
    response = await client.get("/raise/problem")
    assert response.headers["x-a"] == "b"
    assert response.json()["remedy"] == "money"


async def test_an_error_with_a_remedy_shows_it(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/raise/forbidden")).json()["remedy"] == "ask somebody"


async def test_what_is_away_says_when_to_come_back(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/raise/away")).headers["retry-after"] == "1"


async def test_a_request_of_the_wrong_form_names_its_faults(client: httpx2.AsyncClient) -> None:
    response = await client.post("/body", json={"count": "many"})
    answer = response.json()
    assert (response.status_code, answer["code"]) == (422, "request_invalid")
    assert [fault["at"] for fault in answer["errors"]] == ["body.count"]


async def test_an_unknown_route_is_a_problem_too(client: httpx2.AsyncClient) -> None:
    response = await client.get("/nowhere")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    wrong = await client.get("/body")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
