"""The app: routes by who may call them."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, Path, Query, Request
from fastapi.responses import Response
from licet_kit import cursor as cursors
from licet_kit import problems
from licet_kit.cursor import CursorInvalid, Page, page
from licet_kit.db import reading
from licet_kit.problems import Problem
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from licet_billing.api import encode, shapes
from licet_billing.api.tracing import Tracing
from licet_billing.clients.licensing import (
    CredentialInvalid,
    LicensingClient,
    LicensingUnavailable,
    Principal,
)
from licet_billing.domain.errors import BatchesLost, NotFound
from licet_billing.usecases import reading as use
from licet_billing.workers.reconciler import Reconciler
from licet_billing.workers.settler import Settler

DEFAULT_PAGE: Final = 50
LARGEST_PAGE: Final = 200
# A batch document never changes: its name is its hash.
_FOREVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"}


@dataclass(frozen=True, slots=True)
class Edge:
    """What the routes call. `escrows` maps a chain to its UsageEscrow."""

    engine: AsyncEngine
    licensing: LicensingClient
    operator: str
    operator_token: str
    escrows: Mapping[int, str]
    settlers: Sequence[Settler]
    reconcilers: Sequence[Reconciler]


def _edge(request: Request) -> Edge:
    found: Edge = request.app.state.edge
    return found


AnEdge = Annotated[Edge, Depends(_edge)]


async def _snapshot(edge: AnEdge) -> AsyncIterator[AsyncSession]:
    async with reading(edge.engine) as session:
        yield session


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Problem(
            401,
            "credential_missing",
            "the request carries no bearer credential",
            headers={"WWW-Authenticate": "Bearer"},
            remedy="send Authorization: Bearer with an API key or a session",
        )
    return token.strip()


async def _principal(request: Request, edge: AnEdge) -> Principal:
    return await edge.licensing.introspect(_bearer(request))


def _operator(request: Request, edge: AnEdge) -> None:
    if not hmac.compare_digest(_bearer(request).encode(), edge.operator_token.encode()):
        raise CredentialInvalid("the credential is not the operator's token")


Session = Annotated[AsyncSession, Depends(_snapshot)]
Caller = Annotated[Principal, Depends(_principal)]
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE)]
Cursor = Annotated[str, Query(description="`next_cursor` of the page before")]
RequestId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}-[0-9]{1,19}$")]
Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
# Of a 64-bit column.
_LARGEST: Final = 2**63 - 1


def _position(cursor: str, **kinds: type) -> dict[str, Any] | None:
    """Reads a cursor whose fields have these types; None for the first page."""
    if not cursor:
        return None
    found = cursors.decode(cursor)
    if found.keys() != kinds.keys() or not all(_fits(found[name], kind) for name, kind in kinds.items()):
        raise CursorInvalid("the cursor belongs to another list")
    return dict(found)


def _fits(value: object, kind: type) -> bool:
    """Whether the value can be in a column of this kind, so that no cursor reaches SQL that SQL refuses."""
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST
    return isinstance(value, str) and value.isascii() and value.isprintable()


def make_app(edge: Edge) -> FastAPI:
    """The public app of billing."""
    app = FastAPI(title="Licet billing", version="1", docs_url=None, redoc_url=None)
    app.state.edge = edge
    statuses = {CredentialInvalid: 401, NotFound: 404, CursorInvalid: 422, BatchesLost: 409}
    app.add_middleware(Tracing)
    problems.install(app, {**statuses, LicensingUnavailable: 503})
    _account_routes(app)
    _operator_routes(app)
    _settlement_routes(app)
    return app


def _account_routes(app: FastAPI) -> None:
    @app.get("/v1/usage")
    async def usage(
        caller: Caller, session: Session, cursor: Cursor = "", limit: Limit = DEFAULT_PAGE
    ) -> Page[shapes.ChargeBody]:
        """Charges of the caller's account, newest first."""
        at = _position(cursor, seq=int)
        before = at["seq"] if at else None
        rows = await use.charges_of(session, caller.account_id, before=before, limit=limit + 1)
        found = page(rows, limit, lambda row: {"seq": row[0].seq})
        data = [encode.charge(*row) for row in found.data]
        return Page(data=data, has_more=found.has_more, next_cursor=found.next_cursor)

    @app.get("/v1/receipts/{request_id}")
    async def receipt(
        request_id: RequestId, caller: Caller, session: Session, edge: AnEdge
    ) -> shapes.ReceiptBody:
        """Receipt, segment, charge leaf and settlement of one of the caller's calls."""
        charge, settled = await use.charge_with_proof(session, request_id, caller.account_id)
        return encode.receipt(charge, settled, edge.escrows[charge.chain_id])

    @app.get("/v1/balance")
    async def balance(caller: Caller, session: Session, edge: AnEdge) -> shapes.BalanceBody:
        """Deposits of the caller's wallets with this operator."""
        deposits = await use.deposits_of(session, caller.wallets, edge.operator, list(edge.escrows))
        return shapes.BalanceBody(
            account_id=caller.account_id, deposits=[encode.deposit(deposit) for deposit in deposits]
        )

    @app.get("/v1/batches/{digest}")
    async def document(digest: Digest, session: Session) -> Response:
        """The public document of a batch, byte for byte what its data URI's sha256 was made over."""
        body = await use.batch_document(session, digest)
        return Response(body, media_type="application/json", headers=_FOREVER)


def _operator_routes(app: FastAPI) -> None:
    only = [Depends(_operator)]

    @app.get("/v1/ledger/transactions", dependencies=only)
    async def transactions(
        session: Session, cursor: Cursor = "", limit: Limit = DEFAULT_PAGE
    ) -> Page[shapes.TransactionBody]:
        """Ledger transactions with their legs, newest first."""
        at = _position(cursor, seq=int)
        rows = await use.ledger_transactions(session, before=at["seq"] if at else None, limit=limit + 1)
        found = page(rows, limit, lambda row: {"seq": row.seq})
        data = [encode.transaction(row) for row in found.data]
        return Page(data=data, has_more=found.has_more, next_cursor=found.next_cursor)

    @app.get("/v1/ledger/accounts", dependencies=only)
    async def accounts(
        session: Session, cursor: Cursor = "", limit: Limit = DEFAULT_PAGE
    ) -> Page[shapes.AccountBody]:
        """Ledger accounts with their posted sums, by id."""
        at = _position(cursor, id=str)
        rows = await use.ledger_accounts(session, after=at["id"] if at else "", limit=limit + 1)
        found = page(rows, limit, lambda row: {"id": row.id})
        data = [encode.account(row) for row in found.data]
        return Page(data=data, has_more=found.has_more, next_cursor=found.next_cursor)

    @app.get("/v1/reconciliation", dependencies=only)
    async def latest(session: Session, edge: AnEdge) -> shapes.ReconciliationBody:
        """The newest result of each chain."""
        rows = await use.latest_reconciliations(session, list(edge.escrows))
        if not rows:
            raise NotFound("reconciliation yet")
        return encode.reconciliation(rows)

    @app.post("/v1/reconciliation", dependencies=only)
    async def reconcile(edge: AnEdge) -> shapes.ReconciliationBody:
        """Compares receipts, ledger and chain now."""
        for reconciler in edge.reconcilers:
            await reconciler.reconcile()
        async with reading(edge.engine) as session:
            return encode.reconciliation(await use.latest_reconciliations(session, list(edge.escrows)))


def _settlement_routes(app: FastAPI) -> None:
    only = [Depends(_operator)]

    @app.get("/v1/settlements", dependencies=only)
    async def settlements(
        session: Session, edge: AnEdge, cursor: Cursor = "", limit: Limit = DEFAULT_PAGE
    ) -> Page[shapes.BatchBody]:
        """Settlement batches: by chain, then newest first."""
        at = _position(cursor, chain_id=int, batch=int)
        after = (at["chain_id"], at["batch"]) if at else None
        rows = await use.batches(session, edge.operator, after=after, limit=limit + 1)
        found = page(rows, limit, lambda d: {"chain_id": d.row.chain_id, "batch": d.row.number})
        data = [encode.batch(details) for details in found.data]
        return Page(data=data, has_more=found.has_more, next_cursor=found.next_cursor)

    @app.post("/v1/settlements", dependencies=only)
    async def settle(edge: AnEdge) -> shapes.PreparedBody:
        """Composes a batch on each chain now; the chain's settler sends it at its next look."""
        keys = [await settler.prepare() for settler in edge.settlers]
        async with reading(edge.engine) as session:
            made = [encode.batch(await use.batch(session, key)) for key in keys if key is not None]
        stuck = [encode.stuck(each) for settler in edge.settlers for each in settler.stuck]
        return shapes.PreparedBody(batches=made, stuck=stuck)
