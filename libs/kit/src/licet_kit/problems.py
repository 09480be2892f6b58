"""Errors of HTTP routes as problem details (RFC 9457): `application/problem+json` with our stable `code`."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from licet_kit.errors import LicetError, PermanentError, RetryableError, Unavailable
from licet_kit.logs import get_logger

log = get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
# A client that is told nothing else comes back after this.
RETRY_AFTER_S = 1
# What to do about an error whose raiser gives no better advice, by status.
_REMEDIES: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "send Authorization: Bearer with an API key or a session",
    HTTPStatus.FORBIDDEN: "use the credentials of an account that may do this",
    HTTPStatus.NOT_FOUND: "check the path and the id; what belongs to others is not found either",
    HTTPStatus.METHOD_NOT_ALLOWED: "see /openapi.json for the methods of this path",
    HTTPStatus.CONFLICT: "read the present state, then decide anew",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "send less at once",
    HTTPStatus.TOO_MANY_REQUESTS: "wait, then try again",
    HTTPStatus.INTERNAL_SERVER_ERROR: "tell the operator when it happened; the log has the cause",
    HTTPStatus.SERVICE_UNAVAILABLE: "wait, then try again",
}
_REMEDY = "mend the request as the detail says, then send it again"


class Problem(Exception):
    """An HTTP error that a route raises itself; `extra` adds members, such as a `remedy` of its own."""

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.extra = extra


def install(app: FastAPI, table: Mapping[type[LicetError], int]) -> None:
    """Give an app its error edge: `table` maps the errors of its use cases to a status, the nearest base class wins.

    An error that no entry covers is logged with its stack and answered as 500 without details.
    """
    statuses: dict[type[LicetError], int] = {
        Unavailable: 503,
        RetryableError: 503,
        PermanentError: 400,
        **table,
    }

    async def on_problem(_request: Request, error: Any) -> JSONResponse:
        return answer(error)

    async def on_licet_error(request: Request, error: Any) -> JSONResponse:
        status = next((statuses[base] for base in type(error).__mro__ if base in statuses), 500)
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            return await on_unexpected(request, error)
        headers = {"Retry-After": str(RETRY_AFTER_S)} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
        remedy = getattr(error, "remedy", None)
        extra = {"remedy": remedy} if isinstance(remedy, str) else {}
        return answer(Problem(status, error.code, str(error), headers=headers, **extra))

    async def on_invalid(_request: Request, error: Any) -> JSONResponse:
        faults = [{"at": ".".join(map(str, e["loc"])), "message": e["msg"]} for e in error.errors()]
        return answer(
            Problem(422, "request_invalid", "the request does not have the form it must have", errors=faults)
        )

    async def on_http(_request: Request, error: Any) -> JSONResponse:
        phrase = HTTPStatus(error.status_code).phrase
        code = phrase.lower().replace(" ", "_").replace("-", "_")
        return answer(Problem(error.status_code, code, str(error.detail), headers=error.headers))

    async def on_unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("http.failed", method=request.method, path=request.url.path, exc_info=error)
        return answer(Problem(500, "internal", "the server failed; the fault is not in the request"))

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(LicetError, on_licet_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_unexpected)


def answer(problem: Problem) -> JSONResponse:
    """Render a problem."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        "remedy": _REMEDIES.get(problem.status, _REMEDY),
        **problem.extra,
    }
    return JSONResponse(body, problem.status, problem.headers, MEDIA_TYPE)
