"""The caller's usage, receipts and balances, and the operator's books, as billing holds them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from licet_sdk.config import Config
from licet_sdk.http import Service

PAGE = 200


class Usage:
    """Billing's REST API."""

    def __init__(self, config: Config, session: str = "") -> None:
        self._config = config
        self._token = session or config.session or config.api_key
        self._service = Service("billing", config.require("billing"))

    def close(self) -> None:
        """Closes pooled connections."""
        self._service.close()

    def charges(self) -> Iterator[dict[str, Any]]:
        """The account's charges, newest first; follows the pages."""
        yield from self._pages(self._as_account(), "/v1/usage")

    def receipt(self, request_id: str) -> dict[str, Any]:
        """Receipt, segment proof, charge leaf and settlement of one call."""
        return dict(self._as_account().get(f"/v1/receipts/{request_id}"))

    def balance(self) -> dict[str, Any]:
        """Deposits and what is drawn from them."""
        return dict(self._as_account().get("/v1/balance"))

    def settle(self) -> dict[str, Any]:
        """Operator: settles what is due now."""
        return dict(self._as_operator().post("/v1/settlements"))

    def settlements(self) -> Iterator[dict[str, Any]]:
        """Operator: settlement batches, newest first."""
        yield from self._pages(self._as_operator(), "/v1/settlements")

    def ledger(self) -> Iterator[dict[str, Any]]:
        """Operator: posted transactions with their entries."""
        yield from self._pages(self._as_operator(), "/v1/ledger/transactions")

    def accounts(self) -> list[dict[str, Any]]:
        """Operator: ledger accounts with debits, credits and balance."""
        return list(self._as_operator().get("/v1/ledger/accounts")["data"])

    def reconcile(self) -> dict[str, Any]:
        """Operator: compares receipts, ledger and chain now; `differences` is empty when the books agree."""
        return dict(self._as_operator().post("/v1/reconciliation"))

    def _as_account(self) -> Service:
        return self._service.authorize(self._token or self._config.require("api_key"))

    def _as_operator(self) -> Service:
        return self._service.authorize(self._config.require("operator_token"))

    @staticmethod
    def _pages(service: Service, path: str) -> Iterator[dict[str, Any]]:
        cursor = ""
        while True:
            page = service.get(path, limit=PAGE, cursor=cursor)
            yield from page["data"]
            if not page["has_more"]:
                return
            cursor = page["next_cursor"]
