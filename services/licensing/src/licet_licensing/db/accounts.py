"""Accounts, wallets, sessions, API keys and the decisions about them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from licet_licensing.db import tables
from licet_licensing.db.tables import table
from licet_licensing.domain.codes import Code
from licet_licensing.domain.scene import Step

ACCOUNTS = table(tables.AccountRow)
WALLETS = table(tables.WalletRow)
SIGN_INS = table(tables.SignInRow)
SESSIONS = table(tables.SessionRow)
KEYS = table(tables.ApiKeyRow)
DECISIONS = table(tables.DecisionRow)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key without its secret."""

    key_id: str
    name: str
    hint: str
    created_at: datetime
    mandate_key: str = ""

    @property
    def mandate_id(self) -> str:
        """The mandate that it spends by alone; empty: by any right of its account."""
        return self.mandate_key.rpartition(":")[2]


@dataclass(frozen=True, slots=True)
class LoggedDecision:
    """A decision as it was made."""

    decision_id: str
    account_id: str | None
    worker_id: str
    asset_id: str
    code: Code
    grant_id: str
    lease_id: str
    units: int
    chain_id: int
    block_number: int
    block_hash: str
    steps: tuple[Step, ...]
    decided_at: datetime


async def use_message(
    session: AsyncSession, message_hash: bytes, nonce: str, address: str, now: datetime
) -> bool:
    """Use a sign-in message; false when it, or its nonce, was used before."""
    statement = (
        insert(SIGN_INS)
        .values(message_hash=message_hash, nonce=nonce, address=address, used_at=now)
        .on_conflict_do_nothing()
        .returning(SIGN_INS.c.nonce)
    )
    return await session.scalar(statement) is not None


async def account_of_wallet(session: AsyncSession, address: str) -> str | None:
    """The account that a wallet belongs to."""
    return await session.scalar(select(WALLETS.c.account_id).where(WALLETS.c.address == address))


async def open_account(session: AsyncSession, account_id: str, address: str, now: datetime) -> str:
    """Open an account for a wallet, unless somebody was faster; returns the account that the wallet belongs to."""
    await session.execute(insert(ACCOUNTS).values(account_id=account_id, lease_ordinal=0, created_at=now))
    taken = await session.scalar(
        insert(WALLETS)
        .values(address=address, account_id=account_id, created_at=now)
        .on_conflict_do_nothing()
        .returning(WALLETS.c.address)
    )
    if taken is not None:
        return account_id
    await session.execute(delete(ACCOUNTS).where(ACCOUNTS.c.account_id == account_id))
    return str(await account_of_wallet(session, address))


async def created_at(session: AsyncSession, account_id: str) -> datetime | None:
    """When an account was opened."""
    return await session.scalar(select(ACCOUNTS.c.created_at).where(ACCOUNTS.c.account_id == account_id))


async def wallets_of(session: AsyncSession, account_ids: Collection[str]) -> dict[str, list[str]]:
    """The wallets of each account."""
    rows = await session.execute(
        select(WALLETS)
        .where(WALLETS.c.account_id.in_(account_ids))
        .order_by(WALLETS.c.created_at, WALLETS.c.address)
    )
    found: dict[str, list[str]] = {account_id: [] for account_id in account_ids}
    for row in rows:
        found[row.account_id].append(row.address)
    return found


async def accounts_of(session: AsyncSession, wallets: Collection[str]) -> dict[str, str]:
    """The account of each wallet that has one."""
    rows = await session.execute(select(WALLETS).where(WALLETS.c.address.in_(wallets)))
    return {row.address: row.account_id for row in rows}


async def open_session(
    session: AsyncSession, token_hash: bytes, account_id: str, now: datetime, expires_at: datetime
) -> None:
    """Keep a session by the hash of its token."""
    await session.execute(
        insert(SESSIONS).values(
            token_hash=token_hash, account_id=account_id, created_at=now, expires_at=expires_at
        )
    )


async def accounts_of_credentials(
    session: AsyncSession, hashes: Collection[bytes], now: datetime
) -> dict[bytes, str]:
    """The account behind each live API key and each running session."""
    keys = select(KEYS.c.key_hash.label("hash"), KEYS.c.account_id).where(
        KEYS.c.key_hash.in_(hashes), KEYS.c.revoked_at.is_(None)
    )
    sessions = select(SESSIONS.c.token_hash.label("hash"), SESSIONS.c.account_id).where(
        SESSIONS.c.token_hash.in_(hashes), SESSIONS.c.expires_at > now
    )
    return {row.hash: row.account_id for row in await session.execute(keys.union_all(sessions))}


async def lock_accounts(session: AsyncSession, account_ids: Collection[str]) -> dict[str, int]:
    """The newest lease ordinal of each account, locked."""
    rows = await session.execute(
        select(ACCOUNTS.c.account_id, ACCOUNTS.c.lease_ordinal)
        .where(ACCOUNTS.c.account_id.in_(account_ids))
        .order_by(ACCOUNTS.c.account_id)
        .with_for_update()
    )
    return {row.account_id: row.lease_ordinal for row in rows}


async def save_ordinals(session: AsyncSession, ordinals: Mapping[str, int]) -> None:
    """Write the newest lease ordinal of locked accounts."""
    if ordinals:
        rows = [{"key": account_id, "ordinal": ordinals[account_id]} for account_id in sorted(ordinals)]
        statement = (
            update(ACCOUNTS)
            .where(ACCOUNTS.c.account_id == bindparam("key"))
            .values(lease_ordinal=bindparam("ordinal"))
        )
        await (await session.connection()).execute(statement, rows)


async def add_key(session: AsyncSession, account_id: str, key: ApiKey, key_hash: bytes) -> None:
    """Keep an API key by its hash."""
    await session.execute(
        insert(KEYS).values(
            key_id=key.key_id,
            account_id=account_id,
            name=key.name,
            hint=key.hint,
            key_hash=key_hash,
            mandate_key=key.mandate_key,
            created_at=key.created_at,
        )
    )


async def live_keys(session: AsyncSession, account_id: str, after: str | None, limit: int) -> list[ApiKey]:
    """Live keys of an account by id, from behind `after`, at most `limit`."""
    query = (
        select(KEYS)
        .where(KEYS.c.account_id == account_id, KEYS.c.revoked_at.is_(None))
        .order_by(KEYS.c.key_id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(KEYS.c.key_id > after)
    return [
        ApiKey(row.key_id, row.name, row.hint, row.created_at, row.mandate_key)
        for row in await session.execute(query)
    ]


async def count_live_keys(session: AsyncSession, account_id: str, limit: int) -> int:
    """How many live keys an account has, counted up to `limit`. The account must be locked."""
    return len(await live_keys(session, account_id, None, limit))


async def revoke_key(session: AsyncSession, account_id: str, key_id: str, now: datetime) -> bool:
    """Revoke a live key of this account; false when the account has none of that id."""
    statement = (
        update(KEYS)
        .where(KEYS.c.key_id == key_id, KEYS.c.account_id == account_id, KEYS.c.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(KEYS.c.key_id)
    )
    return await session.scalar(statement) is not None


async def log_decisions(session: AsyncSession, decisions: Sequence[LoggedDecision]) -> None:
    """Keep decisions."""
    if decisions:
        await session.execute(insert(DECISIONS), [_decision_row(decision) for decision in decisions])


def _decision_row(decision: LoggedDecision) -> dict[str, Any]:
    return {
        "decision_id": decision.decision_id,
        "account_id": decision.account_id,
        "worker_id": decision.worker_id,
        "asset_id": decision.asset_id,
        "code": decision.code.value,
        "grant_id": decision.grant_id,
        "lease_id": decision.lease_id,
        "units": decision.units,
        "chain_id": decision.chain_id,
        "block_number": decision.block_number,
        "block_hash": decision.block_hash,
        "steps": [{"subject": s.subject, "code": s.code.value, "detail": s.detail} for s in decision.steps],
        "decided_at": decision.decided_at,
    }


async def decision(session: AsyncSession, account_id: str, decision_id: str) -> LoggedDecision | None:
    """A decision about this account."""
    query = select(DECISIONS).where(
        DECISIONS.c.decision_id == decision_id, DECISIONS.c.account_id == account_id
    )
    row = (await session.execute(query)).one_or_none()
    return None if row is None else _decision(row)


def _decision(row: Row[Any]) -> LoggedDecision:
    return LoggedDecision(
        decision_id=row.decision_id,
        account_id=row.account_id,
        worker_id=row.worker_id,
        asset_id=row.asset_id,
        code=Code(row.code),
        grant_id=row.grant_id,
        lease_id=row.lease_id,
        units=row.units,
        chain_id=row.chain_id,
        block_number=row.block_number,
        block_hash=row.block_hash,
        steps=tuple(Step(s["subject"], Code(s["code"]), s["detail"]) for s in row.steps),
        decided_at=row.decided_at,
    )


async def forget(session: AsyncSession, *, now: datetime, decisions_before: datetime, limit: int) -> int:
    """Drop sessions that ended and decisions that are older than their retention."""
    await session.execute(delete(SESSIONS).where(SESSIONS.c.expires_at <= now))
    old = select(DECISIONS.c.decision_id).where(DECISIONS.c.decided_at < decisions_before).limit(limit)
    gone = await session.execute(delete(DECISIONS).where(DECISIONS.c.decision_id.in_(old)))
    return int(gone.rowcount)  # type: ignore[attr-defined]
