"""The REST API: people manage their accounts here, services ask whose a credential is."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from licet_kit import cursor as cursors
from licet_kit import problems
from licet_kit.clock import Clock
from licet_kit.cursor import Page
from licet_kit.db import reading, transaction
from sqlalchemy.ext.asyncio import AsyncEngine

from licet_licensing.api.shapes import (
    AccountBody,
    DecisionView,
    ExplainBody,
    ExplanationView,
    GrantView,
    IntrospectBody,
    Introspection,
    KeyBody,
    KeyView,
    NewKeyView,
    NonceView,
    SessionView,
    SignInBody,
    decision_view,
    grant_view,
    key_view,
    step_view,
)
from licet_licensing.clients import Nonces, is_checksummed, recover_signer
from licet_licensing.domain import siwe
from licet_licensing.domain.credentials import (
    SESSION_PREFIX,
    is_id,
    parse_api_key,
    parse_session_token,
)
from licet_licensing.domain.errors import (
    CredentialInvalid,
    InvalidRequest,
    NotFound,
    SignInRefused,
)
from licet_licensing.domain.scene import Policy
from licet_licensing.usecases import explaining, identity
from licet_licensing.usecases.board import Need

MAX_PAGE = 200
DEFAULT_PAGE = 50


@dataclass(frozen=True, slots=True)
class Deps:
    """What the routes work with."""

    engine: AsyncEngine
    clock: Clock
    nonces: Nonces
    sign_in: siwe.SignInPolicy
    session_lifetime: timedelta
    policy: Policy
    worker_token: str


def deps_of(request: Request) -> Deps:
    deps: Deps = request.app.state.deps
    return deps


_bearer = HTTPBearer(
    auto_error=False, description="A session token or an API key; for services, the worker token."
)
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
WithDeps = Annotated[Deps, Depends(deps_of)]


def _shown(credentials: HTTPAuthorizationCredentials | None) -> str:
    if credentials is None:
        raise problems.Problem(
            401,
            "credential_missing",
            "this needs `Authorization: Bearer …`",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return credentials.credentials


async def caller(deps: WithDeps, credentials: Bearer) -> str:
    """The account that calls, by session or API key."""
    text = _shown(credentials)
    digest = parse_session_token(text) if text.startswith(SESSION_PREFIX) else parse_api_key(text)
    async with reading(deps.engine) as session:
        return await identity.identify(session, digest, deps.clock.now())


async def signed_in(deps: WithDeps, credentials: Bearer) -> str:
    """The account that calls, by session: a key must not make other keys."""
    digest = parse_session_token(_shown(credentials))
    async with reading(deps.engine) as session:
        return await identity.identify(session, digest, deps.clock.now())


async def service(deps: WithDeps, credentials: Bearer) -> None:
    """Refuses who does not show the worker token."""
    if not hmac.compare_digest(_shown(credentials).encode(), deps.worker_token.encode()):
        raise CredentialInvalid("not a service's token")


Caller = Annotated[str, Depends(caller)]
SignedIn = Annotated[str, Depends(signed_in)]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]
Cursor = Annotated[str | None, Query()]


def make_app(deps: Deps) -> FastAPI:
    """The REST API of licensing."""
    app = FastAPI(title="Licet licensing", version="1", description="Accounts, keys and spendable rights.")
    app.state.deps = deps
    problems.install(
        app,
        {
            CredentialInvalid: 401,
            SignInRefused: 401,
            NotFound: 404,
            InvalidRequest: 422,
            cursors.CursorInvalid: 422,
        },
    )
    app.post("/v1/auth/nonce", status_code=201)(issue_nonce)
    app.post("/v1/auth/siwe", status_code=201)(sign_in)
    app.post("/v1/keys", status_code=201)(create_key)
    app.get("/v1/keys")(list_keys)
    app.delete("/v1/keys/{key_id}", status_code=204)(revoke_key)
    app.get("/v1/account")(show_account)
    app.get("/v1/grants")(list_grants)
    app.get("/v1/decisions/{decision_id}")(show_decision)
    app.post("/v1/explain")(explain)
    app.post("/v1/introspect", dependencies=[Depends(service)])(introspect)
    return app


async def issue_nonce(deps: WithDeps) -> NonceView:
    """A nonce for one sign-in message."""
    nonce = await deps.nonces.issue()
    return NonceView(nonce=nonce, expires_in_s=int(deps.nonces.lifetime.total_seconds()))


async def sign_in(body: SignInBody, deps: WithDeps) -> SessionView:
    """Sign in with a wallet (ERC-4361). The session is shown this once."""
    now = deps.clock.now()
    message = siwe.parse(body.message)
    if not is_checksummed(message.address):
        raise SignInRefused("the address is not checksummed (ERC-55)")
    siwe.judge(message, deps.sign_in, now)
    if recover_signer(body.message, body.signature) != message.address.lower():
        raise SignInRefused("the signature is not the address's")
    # Before the transaction: no network call while rows are locked. A nonce that is lost here can only refuse.
    if not await deps.nonces.take(message.nonce):
        raise SignInRefused("the nonce was not issued here, has run out or was used")
    async with transaction(deps.engine) as session:
        opened = await identity.sign_in(
            session,
            message=body.message,
            nonce=message.nonce,
            wallet=message.address.lower(),
            now=now,
            lifetime=deps.session_lifetime,
        )
    return SessionView(session=opened.session, account_id=opened.account_id, expires_at=opened.expires_at)


async def create_key(body: KeyBody, account_id: SignedIn, deps: WithDeps) -> NewKeyView:
    """Make an API key. Its text is shown this once."""
    async with transaction(deps.engine) as session:
        key, text = await identity.create_key(
            session, account_id, body.name, deps.clock.now(), body.mandate_id
        )
    return NewKeyView(**key_view(key).model_dump(), key=text)


async def list_keys(
    account_id: SignedIn, deps: WithDeps, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None
) -> Page[KeyView]:
    """The account's live keys, without their secrets."""
    async with reading(deps.engine) as session:
        keys = await identity.keys_of(session, account_id, _after(cursor), limit)
    return cursors.page([key_view(key) for key in keys], limit, lambda key: {"after": key.id})


async def revoke_key(key_id: str, account_id: SignedIn, deps: WithDeps) -> None:
    """Revoke a key. Leases that it opened end within their time limit."""
    async with transaction(deps.engine) as session:
        await identity.revoke_key(session, account_id, key_id, deps.clock.now())


async def show_account(account_id: Caller, deps: WithDeps) -> AccountBody:
    """The account that calls."""
    async with reading(deps.engine) as session:
        view = await identity.account_view(session, account_id)
    return AccountBody(account_id=view.account_id, wallets=list(view.wallets), created_at=view.created_at)


async def list_grants(
    account_id: Caller, deps: WithDeps, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None
) -> Page[GrantView]:
    """The account's rights and what is left of each."""
    async with reading(deps.engine) as session:
        grants = await identity.grants_of(session, account_id, _after(cursor), limit)
    return cursors.page(
        [grant_view(grant) for grant in grants], limit, lambda grant: {"after": grant.grant_id}
    )


async def show_decision(decision_id: str, account_id: Caller, deps: WithDeps) -> DecisionView:
    """A decision about the account, with every step that led to it."""
    async with reading(deps.engine) as session:
        return decision_view(await explaining.past_decision(session, account_id, decision_id))


async def explain(
    body: ExplainBody, account_id: Caller, deps: WithDeps, credentials: Bearer
) -> ExplanationView:
    """Why a call would be admitted or refused now, or why a past one was."""
    async with reading(deps.engine) as session:
        if body.decision_id:
            found = await explaining.explain_past(session, account_id, body.decision_id)
        elif body.asset_id or body.slug:
            need = Need(_digest(_shown(credentials)), body.asset_id.lower(), body.slug)
            found = await explaining.explain(session, need, deps.policy, deps.clock.now())
        else:
            raise InvalidRequest("slug, asset_id or decision_id is needed")
    return ExplanationView(
        decision_id=found.decision_id,
        code=found.code.value,
        message=found.message,
        steps=[step_view(step) for step in found.steps],
    )


async def introspect(body: IntrospectBody, deps: WithDeps) -> Introspection:
    """Whose credential this is; for services, which show the worker token."""
    if bool(body.api_key) == bool(body.session):
        raise InvalidRequest("give api_key or session")
    digest = parse_api_key(body.api_key) if body.api_key else parse_session_token(body.session)
    async with reading(deps.engine) as session:
        account_id = await identity.identify(session, digest, deps.clock.now())
        view = await identity.account_view(session, account_id)
    return Introspection(account_id=account_id, wallets=list(view.wallets))


def _digest(text: str) -> bytes:
    return parse_session_token(text) if text.startswith(SESSION_PREFIX) else parse_api_key(text)


def _after(text: str | None) -> str | None:
    if text is None:
        return None
    position = cursors.decode(text).get("after")
    if not isinstance(position, str) or not is_id(position):
        raise cursors.CursorInvalid("the cursor is not of this list")
    return position
