"""Asks licensing whose credential a request carries."""

from __future__ import annotations

import httpx2
from licet_kit.errors import PermanentError, Unavailable

from licet_vault.domain import Publisher

SESSION_PREFIX = "licet_session_"
TIMEOUT_S = 5.0
MAX_CREDENTIAL_CHARS = 512


class CredentialMissing(PermanentError):
    """The request carries no bearer credential."""

    code = "credential_missing"


class CredentialInvalid(PermanentError):
    """Licensing does not know the credential."""

    code = "credential_invalid"


class LicensingUnavailable(Unavailable):
    """Licensing does not answer, so nobody can be let in."""

    code = "licensing_unavailable"


class Licensing:
    """Licensing's introspection route, with this service's token."""

    def __init__(self, url: str, worker_token: str) -> None:
        self._client = httpx2.AsyncClient(
            base_url=url, headers={"authorization": f"Bearer {worker_token}"}, timeout=TIMEOUT_S
        )

    async def close(self) -> None:
        """Closes the connection pool."""
        await self._client.aclose()

    async def publisher(self, authorization: str) -> Publisher:
        """The account behind an Authorization header; raises CredentialMissing, CredentialInvalid
        or LicensingUnavailable."""
        scheme, _, credential = authorization.partition(" ")
        if scheme.lower() != "bearer" or not credential:
            raise CredentialMissing("send Authorization: Bearer with a session or an API key")
        if len(credential) > MAX_CREDENTIAL_CHARS:
            raise CredentialInvalid("the credential is too long")
        kind = "session" if credential.startswith(SESSION_PREFIX) else "api_key"
        try:
            answer = await self._client.post("/v1/introspect", json={kind: credential})
        except httpx2.TransportError as error:
            raise LicensingUnavailable(f"licensing does not answer: {type(error).__name__}") from error
        if answer.status_code == httpx2.codes.UNAUTHORIZED:
            raise CredentialInvalid("the session or API key is unknown, expired or revoked")
        if answer.status_code != httpx2.codes.OK:
            raise LicensingUnavailable(f"licensing answers {answer.status_code}")
        body = answer.json()
        return Publisher(
            str(body["account_id"]), frozenset(str(wallet).lower() for wallet in body["wallets"])
        )
