"""Licensing's introspection: whose API key or session is this?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import httpx2
from licet_kit.errors import PermanentError, Unavailable

_SESSION_PREFIX: Final = "licet_session_"


class CredentialInvalid(PermanentError):
    """No account has this key or session."""

    code = "credential_invalid"
    remedy = "use an API key or a session of this installation"


class LicensingUnavailable(Unavailable):
    """Licensing did not answer: nobody is let in."""

    code = "licensing_unavailable"


@dataclass(frozen=True, slots=True)
class Principal:
    """An account and its wallets (lowercase addresses)."""

    account_id: str
    wallets: tuple[str, ...]


class LicensingClient:
    """Asks licensing; keeps nothing, so that a key is refused as soon as it is revoked there."""

    def __init__(self, client: httpx2.AsyncClient, worker_token: str) -> None:
        """`client` has licensing's base address and a timeout."""
        self._client = client
        self._headers = {"Authorization": f"Bearer {worker_token}"}

    async def introspect(self, credential: str) -> Principal:
        """The account of a key or session. Raises CredentialInvalid or LicensingUnavailable."""
        kind = "session" if credential.startswith(_SESSION_PREFIX) else "api_key"
        try:
            answer = await self._client.post("/v1/introspect", json={kind: credential}, headers=self._headers)
        except httpx2.HTTPError as error:
            raise LicensingUnavailable(type(error).__name__) from error
        if answer.status_code == 401 and answer.json().get("code") == CredentialInvalid.code:
            raise CredentialInvalid("the credential is not valid")
        if answer.status_code != 200:
            raise LicensingUnavailable(f"licensing answered {answer.status_code}")
        body = answer.json()
        return Principal(body["account_id"], tuple(wallet.lower() for wallet in body["wallets"]))
