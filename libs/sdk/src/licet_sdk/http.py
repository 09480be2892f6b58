"""One HTTP connection pool to a service, with its errors turned into the SDK's."""

from __future__ import annotations

import ssl
from functools import cache
from typing import Any, Self

import httpx2
import stamina

from licet_sdk.errors import Refused, Unreachable

TIMEOUT_S = 30.0
# A lost connection or a 503 passes within seconds when a replica restarts; longer outages are the caller's to see.
ATTEMPTS = 4


# Advice where a service gives none of its own.
_REMEDIES = {
    "http_400": "mend the request as the message says; nothing was charged",
    "not_found": "check the id and whose credentials you use: what belongs to others is not found either",
}


@cache
def tls_context() -> ssl.SSLContext:
    """Returns the system's certificates, which take 20 ms to read, once for all clients of a process."""
    return httpx2.create_ssl_context()


class Service:
    """JSON over HTTP to one base URL. GETs are repeated when the service cannot be reached; writes never are."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url
        self._client = httpx2.Client(base_url=url, timeout=TIMEOUT_S, verify=tls_context())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes pooled connections."""
        self._client.close()

    def authorize(self, token: str) -> Self:
        """Sends this bearer token from now on."""
        self._client.headers["authorization"] = f"Bearer {token}"
        return self

    def probe(self, path: str) -> None:
        """Raises unless a GET is answered with success, whatever its body."""
        try:
            response = self._client.get(path)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        if not response.is_success:
            raise refusal(response.status_code, response.content, self.name)

    def get(self, path: str, **params: str | int) -> Any:
        """GET as JSON; raises Refused for a problem answer, Unreachable when there is none."""
        given = {k: v for k, v in params.items() if v not in ("", None)}
        for attempt in stamina.retry_context(
            on=Unreachable, attempts=ATTEMPTS, wait_initial=0.1, wait_max=2.0
        ):
            with attempt:
                return self._send("GET", path, params=given)
        raise AssertionError("retry_context ends by return or raise")

    def post(self, path: str, body: object | None = None) -> Any:
        """POST of a JSON body."""
        return self._send("POST", path, json=body)

    def delete(self, path: str) -> Any:
        """DELETE."""
        return self._send("DELETE", path)

    def put_bytes(self, path: str, content: bytes) -> Any:
        """PUT of raw bytes."""
        return self._send("PUT", path, content=content, headers={"content-type": "application/octet-stream"})

    def _send(self, method: str, path: str, **kwargs: Any) -> Any:
        try:
            response = self._client.request(method, path, **kwargs)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        if response.is_success:
            return response.json() if response.content else None
        raise refusal(response.status_code, response.content, self.name)

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(
            "unreachable",
            f"{self.name} at {self.url} did not answer ({type(error).__name__})",
            "check `make status`, then the service's log with `make logs`",
        )


def refusal(status: int, content: bytes, service: str) -> Refused | Unreachable:
    """The error for an answer that is not 2xx: problem+json, a gateway refusal, or anything else."""
    try:
        body = httpx2.Response(status, content=content).json()
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    code = str(body.get("code") or f"http_{status}")
    message = str(
        body.get("detail") or body.get("error") or body.get("title") or f"{service} answered {status}"
    )
    return Refused(code, message, str(body.get("remedy") or _REMEDIES.get(code, "")), status=status)
