"""Accounts, keys and rights of the caller, as licensing holds them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from licet_sdk import siwe
from licet_sdk.config import Config
from licet_sdk.http import Service
from licet_sdk.wallet import account_of


class Licensing:
    """The licensing service's REST API."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._session = config.session
        self._service = Service("licensing", config.require("licensing"))

    def close(self) -> None:
        """Closes pooled connections."""
        self._service.close()

    def login(self, chain_id: int) -> dict[str, Any]:
        """Signs in with the configured private key; the session is used by the calls that follow."""
        account = account_of(self._config)
        url = urlsplit(self._service.url)
        nonce = self._service.post("/v1/auth/nonce")["nonce"]
        text = siwe.message(
            domain=url.netloc,
            address=account.address,
            uri=self._service.url,
            chain_id=chain_id,
            nonce=nonce,
        )
        answer: dict[str, Any] = self._service.post(
            "/v1/auth/siwe", {"message": text, "signature": siwe.sign(text, self._config.private_key)}
        )
        self._session = answer["session"]
        return answer

    def create_key(self, name: str, mandate_id: str = "") -> dict[str, Any]:
        """Makes an API key; the answer's `key` is shown this once and stored nowhere.

        Bound to a mandate that the wallet has opened, it spends by that alone: what an agent is given.
        """
        return dict(self._authorized().post("/v1/keys", {"name": name, "mandate_id": mandate_id}))

    def keys(self) -> list[dict[str, Any]]:
        """The account's keys, without their secrets."""
        return list(self._authorized().get("/v1/keys")["data"])

    def grants(self) -> list[dict[str, Any]]:
        """The account's spendable rights with granted, free, leased, suspended, spent and lapsed units."""
        return list(self._authorized().get("/v1/grants")["data"])

    def account(self) -> dict[str, Any]:
        """The account and its wallets."""
        return dict(self._authorized().get("/v1/account"))

    def explain(self, slug: str) -> dict[str, Any]:
        """Why a call to this model would be admitted or refused now."""
        return dict(self._authorized().post("/v1/explain", {"slug": slug}))

    def _authorized(self) -> Service:
        return self._service.authorize(
            self._session or self._config.api_key or self._config.require("session")
        )
