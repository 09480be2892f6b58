"""Who calls: signing in with a wallet, API keys, and the account behind a credential."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from licet_kit.ids import new_id
from sqlalchemy.ext.asyncio import AsyncSession

from licet_licensing.db import accounts, mandates, rights
from licet_licensing.db.accounts import ApiKey
from licet_licensing.domain.credentials import (
    SECRET_BYTES,
    format_api_key,
    format_session_token,
    hash_token,
    is_id,
)
from licet_licensing.domain.errors import CredentialInvalid, InvalidRequest, NotFound, SignInRefused
from licet_licensing.domain.grants import Grant
from licet_licensing.domain.mandates import LEAST_GRACE_S
from licet_licensing.usecases.telling import tell_states

# Keys are made by people and rotated by programs; more live ones than this are forgotten ones.
MAX_KEYS = 100
MAX_NAME_CHARS = 100
# Enough of a key to tell it from others of the account, useless to guess the rest of it.
_HINT_CHARS = 6


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session that was just opened. The token is shown this once."""

    session: str
    account_id: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account and its wallets."""

    account_id: str
    wallets: tuple[str, ...]
    created_at: datetime


async def sign_in(
    session: AsyncSession, *, message: str, nonce: str, wallet: str, now: datetime, lifetime: timedelta
) -> SignedIn:
    """Open a session for the wallet that signed this message; its account is opened at the first sign-in.

    A message, and a nonce, pass once for ever: `SignInRefused` afterwards, whatever Redis remembers.
    """
    digest = hashlib.sha256(message.encode()).digest()
    if not await accounts.use_message(session, digest, nonce, wallet, now):
        raise SignInRefused("the message was used before")
    account_id = await accounts.account_of_wallet(session, wallet) or await _open_account(
        session, wallet, now
    )
    token = format_session_token(secrets.token_bytes(SECRET_BYTES))
    await accounts.open_session(session, hash_token(token), account_id, now, now + lifetime)
    return SignedIn(token, account_id, now + lifetime)


async def _open_account(session: AsyncSession, wallet: str, now: datetime) -> str:
    account_id = await accounts.open_account(session, new_id(), wallet, now)
    grants = await rights.lock_wallet_grants(session, wallet)
    owned = [grant.with_balance(grant.balance) for grant in grants.values()]
    await rights.save_grants(session, owned, published_at=now)
    await tell_states(session, owned)
    return account_id


async def identify(session: AsyncSession, credential_hash: bytes, now: datetime) -> str:
    """The account behind a credential; `CredentialInvalid` when nobody's."""
    found = await accounts.accounts_of_credentials(session, [credential_hash], now)
    try:
        return found[credential_hash]
    except KeyError:
        raise CredentialInvalid("the credential is unknown, expired or revoked") from None


async def create_key(
    session: AsyncSession, account_id: str, name: str, now: datetime, mandate_id: str = ""
) -> tuple[ApiKey, str]:
    """A new API key and its text, which nobody can read again. Bound to a mandate, it spends by that alone."""
    name = name.strip()
    if not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable():
        raise InvalidRequest(f"a key's name has 1 to {MAX_NAME_CHARS} printable characters")
    await accounts.lock_accounts(session, [account_id])
    if await accounts.count_live_keys(session, account_id, MAX_KEYS) >= MAX_KEYS:
        raise InvalidRequest(f"the account has {MAX_KEYS} keys; revoke one first")
    text = format_api_key(secrets.token_bytes(SECRET_BYTES))
    mandate_key = await _mandate_of(session, account_id, mandate_id) if mandate_id else ""
    key = ApiKey(new_id(), name, text[-_HINT_CHARS:], now, mandate_key)
    await accounts.add_key(session, account_id, key, hash_token(text))
    return key, text


async def _mandate_of(session: AsyncSession, account_id: str, mandate_id: str) -> str:
    wallets = await accounts.wallets_of(session, [account_id])
    found = None
    if is_id(mandate_id):
        found = await mandates.of_wallets(session, mandate_id.lower(), wallets[account_id])
    if found is None:
        raise InvalidRequest("no wallet of this account has opened this mandate, or it is not known here yet")
    if found.grace_s < LEAST_GRACE_S:
        raise InvalidRequest(
            f"the mandate's grace of {found.grace_s} s is too short to settle by; open one of {LEAST_GRACE_S} s or more"
        )
    return found.key


async def revoke_key(session: AsyncSession, account_id: str, key_id: str, now: datetime) -> None:
    """Revoke a key of this account; `NotFound` when it has none of that id."""
    if not is_id(key_id) or not await accounts.revoke_key(session, account_id, key_id, now):
        raise NotFound("no such key")


async def keys_of(session: AsyncSession, account_id: str, after: str | None, limit: int) -> list[ApiKey]:
    """Live keys of an account, from behind `after`, one more than `limit`."""
    return await accounts.live_keys(session, account_id, after, limit + 1)


async def account_view(session: AsyncSession, account_id: str) -> AccountView:
    """The account as its owner sees it."""
    created_at = await accounts.created_at(session, account_id)
    if created_at is None:
        raise NotFound("no such account")
    wallets = await accounts.wallets_of(session, [account_id])
    return AccountView(account_id, tuple(wallets[account_id]), created_at)


async def grants_of(session: AsyncSession, account_id: str, after: str | None, limit: int) -> list[Grant]:
    """Grants of an account's wallets, from behind `after`, one more than `limit`."""
    wallets = await accounts.wallets_of(session, [account_id])
    return await rights.grant_page(session, wallets[account_id], after, limit + 1)
