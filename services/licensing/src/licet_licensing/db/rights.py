"""Grants and what hangs on them: holds, debts, former holders."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from licet_kit.ids import new_id
from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    bindparam,
    case,
    delete,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from licet_licensing.db import tables
from licet_licensing.db.tables import table
from licet_licensing.domain.balance import Balance
from licet_licensing.domain.codes import Code
from licet_licensing.domain.grants import Debt, Grant, GrantState, Source

GRANTS = table(tables.GrantRow)
MOVES = table(tables.LicenseMoveRow)
HOLDS = table(tables.HoldRow)
DEBTS = table(tables.DebtRow)

_RUNNING = (GrantState.PROVISIONAL.value, GrantState.LIVE.value)


def _grant(row: Row[Any]) -> Grant:
    return Grant(
        grant_id=row.grant_id,
        source=Source(row.source),
        chain_id=row.chain_id,
        contract=row.contract,
        token_id=row.token_id,
        window=row.window_ordinal,
        wallet=row.wallet,
        payer=row.payer,
        operator=row.operator,
        currency=row.currency,
        plan_key=row.plan_key,
        asset_id=row.asset_id,
        origin=row.origin,
        state=GrantState(row.state),
        balance=Balance(row.target, row.leased, row.suspended, row.spent, row.ended),
        end_time=row.end_time,
        floor=row.floor,
        generation=row.generation,
        version=row.version,
        quarantined=row.quarantined,
        user=row.user_wallet,
        user_until=row.user_until,
        draws_on=row.draws_on,
        mandates_only=row.mandates_only,
    )


def _values(grant: Grant) -> dict[str, Any]:
    balance = grant.balance
    return {
        "grant_id": grant.grant_id,
        "source": grant.source.value,
        "chain_id": grant.chain_id,
        "contract": grant.contract,
        "token_id": grant.token_id,
        "window_ordinal": grant.window,
        "wallet": grant.wallet,
        "user_wallet": grant.user,
        "user_until": grant.user_until,
        "payer": grant.payer,
        "operator": grant.operator,
        "currency": grant.currency,
        "plan_key": grant.plan_key,
        "asset_id": grant.asset_id,
        "origin": grant.origin,
        "state": grant.state.value,
        "quarantined": grant.quarantined,
        "end_time": grant.end_time,
        "generation": grant.generation,
        "floor": grant.floor,
        "target": balance.target,
        "granted": balance.granted,
        "free": balance.free,
        "leased": balance.leased,
        "suspended": balance.suspended,
        "spent": balance.spent,
        "lapsed": balance.lapsed,
        "shortage": balance.shortage,
        "ended": balance.ended,
        "draws_on": grant.draws_on,
        "mandates_only": grant.mandates_only,
        "version": grant.version,
    }


async def _locked(session: AsyncSession, query: Select[Any]) -> dict[str, Grant]:
    rows = await session.execute(query.order_by(GRANTS.c.grant_id).with_for_update())
    return {row.grant_id: _grant(row) for row in rows}


async def lock_grants(session: AsyncSession, grant_ids: Collection[str]) -> dict[str, Grant]:
    """These grants, and the deposits that they draw on, locked."""
    return await _locked(session, select(GRANTS).where(_with_deposits(GRANTS.c.grant_id.in_(grant_ids))))


async def grants(session: AsyncSession, grant_ids: Collection[str]) -> dict[str, Grant]:
    """These grants, as they are."""
    rows = await session.execute(select(GRANTS).where(GRANTS.c.grant_id.in_(grant_ids)))
    return {row.grant_id: _grant(row) for row in rows}


def _with_deposits(chosen: ColumnElement[bool]) -> ColumnElement[bool]:
    return chosen | GRANTS.c.grant_id.in_(
        select(GRANTS.c.draws_on).where(chosen, GRANTS.c.draws_on != literal_column("''")).correlate(None)
    )


async def lock_subject_grants(
    session: AsyncSession, subjects: Collection[str], paying: Collection[str] = ()
) -> dict[str, dict[str, Grant]]:
    """The grants of these tokens, deposits and mandates, locked, by subject; also the running windows that draw on the
    deposits that `paying` names."""
    draws = (GRANTS.c.draws_on != literal_column("''")) & GRANTS.c.draws_on.in_(paying)
    chosen = GRANTS.c.subject.in_(subjects) | (draws & GRANTS.c.state.in_(_RUNNING))
    query = select(GRANTS).where(chosen).order_by(GRANTS.c.grant_id).with_for_update()
    found: dict[str, dict[str, Grant]] = {}
    for row in await session.execute(query):
        found.setdefault(row.subject, {})[row.grant_id] = _grant(row)
    return found


def _used_by(wallets: Collection[str]) -> ColumnElement[bool]:
    # A constant, not a parameter: only so does Postgres see that the partial index will do.
    return (GRANTS.c.user_wallet != literal_column("''")) & GRANTS.c.user_wallet.in_(wallets)


def _rights_of(
    wallets: Collection[str], asset_ids: Collection[str], operator: str, now: float
) -> Select[Any]:
    licenses = (GRANTS.c.source == Source.LICENSE.value) & GRANTS.c.asset_id.in_(asset_ids)
    licenses &= (GRANTS.c.end_time > int(now)) & GRANTS.c.state.in_(_RUNNING)
    credits_ = (GRANTS.c.source == Source.CREDITS.value) & GRANTS.c.asset_id.in_(asset_ids)
    deposits = (GRANTS.c.source == Source.DEPOSIT.value) | credits_
    deposits &= GRANTS.c.operator == operator
    used = _used_by(wallets) & (GRANTS.c.user_until > int(now))
    held = GRANTS.c.wallet.in_(wallets)
    return select(GRANTS).where(or_(held & or_(licenses, deposits), used & licenses))


async def read_rights(
    session: AsyncSession, wallets: Collection[str], asset_ids: Collection[str], operator: str, now: float
) -> dict[str, Grant]:
    """The running licenses for these assets that these wallets hold or were delegated, and their deposits and credits
    with the operator. Not locked: who lends from them looks again under their locks."""
    rows = await session.execute(_rights_of(wallets, asset_ids, operator, now))
    return {row.grant_id: _grant(row) for row in rows}


async def history(
    session: AsyncSession, wallets: Collection[str], asset_ids: Collection[str], now: float
) -> dict[tuple[str, str], set[Code]]:
    """Why a wallet has no running license of an asset any more, by (wallet, asset)."""
    why = case(
        (
            GRANTS.c.state.in_((GrantState.RETRACTED.value, GrantState.REVOKED.value)),
            Code.LICENSE_REVOKED.value,
        ),
        (GRANTS.c.state == GrantState.TRANSFERRED.value, Code.LICENSE_TRANSFERRED.value),
        else_=Code.LICENSE_EXPIRED.value,
    )
    gone = select(GRANTS.c.wallet, GRANTS.c.asset_id, why.label("why")).where(
        GRANTS.c.source == Source.LICENSE.value,
        GRANTS.c.wallet.in_(wallets),
        GRANTS.c.asset_id.in_(asset_ids),
        or_(GRANTS.c.state.not_in(_RUNNING), GRANTS.c.end_time <= int(now)),
    )
    found: dict[tuple[str, str], set[Code]] = {}
    for row in await session.execute(gone.distinct()):
        found.setdefault((row.wallet, row.asset_id), set()).add(Code(row.why))
    moved = select(MOVES.c.wallet, MOVES.c.asset_id).where(
        MOVES.c.wallet.in_(wallets), MOVES.c.asset_id.in_(asset_ids)
    )
    for giver in await session.execute(moved.distinct()):
        found.setdefault((giver.wallet, giver.asset_id), set()).add(Code.LICENSE_TRANSFERRED)
    used = select(GRANTS.c.user_wallet, GRANTS.c.asset_id).where(
        _used_by(wallets),
        GRANTS.c.asset_id.in_(asset_ids),
        GRANTS.c.user_until <= int(now),
    )
    for user in await session.execute(used.distinct()):
        found.setdefault((user.user_wallet, user.asset_id), set()).add(Code.DELEGATION_ENDED)
    return found


async def windows_of(session: AsyncSession, subject: str) -> list[Grant]:
    """Every window of a mandate that was used so far."""
    rows = await session.execute(select(GRANTS).where(GRANTS.c.subject == subject))
    return [_grant(row) for row in rows]


async def insert_grants(session: AsyncSession, subject: str, grants: Sequence[Grant], now: datetime) -> None:
    """Write grants that are seen for the first time; they are published in the same transaction."""
    if grants:
        rows = [
            {**_values(grant), "subject": subject, "published_version": grant.version, "published_at": now}
            for grant in grants
        ]
        await session.execute(insert(GRANTS), rows)


async def save_grants(
    session: AsyncSession, grants: Iterable[Grant], *, published_at: datetime | None = None
) -> None:
    """Write locked grants back. With `published_at`, their state leaves through the outbox in this transaction;
    otherwise the next publication takes it along."""
    rows = [{**_values(grant), "key": grant.grant_id} for grant in sorted(grants, key=lambda g: g.grant_id)]
    if not rows:
        return
    columns = [name for name in rows[0] if name not in ("key", "grant_id")]
    values: dict[str, Any] = {name: bindparam(name, type_=GRANTS.c[name].type) for name in columns}
    if published_at is not None:
        values |= {"published_version": values["version"], "published_at": published_at}
    connection = await session.connection()
    await connection.execute(update(GRANTS).where(GRANTS.c.grant_id == bindparam("key")).values(values), rows)


async def take_unpublished(session: AsyncSession, before: datetime, now: datetime, limit: int) -> list[Grant]:
    """Grants whose last change nobody was told of, and that were published last before `before`; marks them told."""
    query = (
        select(GRANTS)
        .where(GRANTS.c.version > GRANTS.c.published_version, GRANTS.c.published_at <= before)
        .order_by(GRANTS.c.grant_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    taken = [_grant(row) for row in await session.execute(query)]
    if taken:
        told = update(GRANTS).where(GRANTS.c.grant_id.in_([grant.grant_id for grant in taken]))
        await session.execute(told.values(published_version=GRANTS.c.version, published_at=now))
    return taken


async def take_ended(session: AsyncSession, now: float, limit: int) -> list[Grant]:
    """Grants whose end has passed and that still count as running, locked; those locked by others are left."""
    query = (
        select(GRANTS)
        .where(GRANTS.c.state.in_(_RUNNING), GRANTS.c.end_time > 0, GRANTS.c.end_time <= int(now))
        .order_by(GRANTS.c.grant_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [_grant(row) for row in await session.execute(query)]


async def save_moves(session: AsyncSession, subject: str, asset_id: str, wallets: Collection[str]) -> None:
    """Write the former holders of a license anew."""
    await session.execute(delete(MOVES).where(MOVES.c.subject == subject))
    if wallets:
        rows = [{"subject": subject, "wallet": wallet, "asset_id": asset_id} for wallet in sorted(wallets)]
        await session.execute(insert(MOVES), rows)


async def grants_of_key(
    session: AsyncSession, *, asset_id: str | None, payer: str, operator: str
) -> list[str]:
    """Ids of the grants that events of one key of chain.event speak of: an asset's rights, or a payer's deposits."""
    if asset_id is not None:
        sold = (Source.LICENSE.value, Source.CREDITS.value)
        where = GRANTS.c.source.in_(sold) & (GRANTS.c.asset_id == asset_id)
    else:
        paid = (Source.DEPOSIT.value, Source.CREDITS.value, Source.MANDATE.value)
        where = GRANTS.c.source.in_(paid) & (GRANTS.c.payer == payer)
        where &= GRANTS.c.operator == operator
    return list((await session.scalars(select(GRANTS.c.grant_id).where(where))).all())


async def deposits_in(session: AsyncSession, tokens: Collection[tuple[int, str]]) -> set[str]:
    """Subjects of the deposits that are in these tokens, of (chain, token)."""
    paid = GRANTS.c.source.in_((Source.DEPOSIT.value, Source.CREDITS.value))
    where = paid & tuple_(GRANTS.c.chain_id, GRANTS.c.currency).in_(tokens)
    return set((await session.scalars(select(GRANTS.c.subject).where(where))).all())


async def hold(session: AsyncSession, topic: str, key: str, grant_ids: Collection[str]) -> None:
    """Remember that a key of a topic denies these grants."""
    if grant_ids:
        rows = [{"grant_id": grant_id, "topic": topic, "held_key": key} for grant_id in sorted(grant_ids)]
        await session.execute(insert(HOLDS).on_conflict_do_nothing(), rows)


async def held_grants(session: AsyncSession, topic: str, key: str) -> list[str]:
    """The grants that this key denies."""
    query = select(HOLDS.c.grant_id).where(HOLDS.c.topic == topic, HOLDS.c.held_key == key)
    return list((await session.scalars(query)).all())


async def unhold(session: AsyncSession, topic: str, key: str, grant_ids: Collection[str]) -> set[str]:
    """Forget what this key denies; returns those of `grant_ids` that no other key denies."""
    await session.execute(delete(HOLDS).where(HOLDS.c.topic == topic, HOLDS.c.held_key == key))
    query = select(HOLDS.c.grant_id).where(HOLDS.c.grant_id.in_(grant_ids))
    return set(grant_ids) - set((await session.scalars(query)).all())


async def add_debts(session: AsyncSession, debts: Sequence[Debt], now: datetime) -> None:
    """Write use that a reorganisation left without a right."""
    rows = [
        {
            "debt_id": new_id(),
            "payer": debt.payer,
            "wallet": debt.wallet,
            "plan_key": debt.plan_key,
            "grant_id": debt.grant_id,
            "units": debt.units,
            "created_at": now,
        }
        for debt in debts
        if debt.units
    ]
    if rows:
        await session.execute(insert(DEBTS), rows)


async def indebted(session: AsyncSession, payers: Collection[str]) -> frozenset[str]:
    """Those of the payers with uncovered use: an open debt, or a deposit that is short."""
    open_debts = select(DEBTS.c.payer).where(DEBTS.c.payer.in_(payers))
    short = select(GRANTS.c.payer).where(GRANTS.c.payer.in_(payers), GRANTS.c.shortage > 0)
    return frozenset((await session.scalars(open_debts.union(short))).all())


async def coverable_debt(session: AsyncSession) -> tuple[str, Debt, str] | None:
    """An open debt, with a final, running grant of the same payer, holder and plan that has free units."""
    query = (
        select(DEBTS, GRANTS.c.grant_id.label("cover"))
        .join(
            GRANTS,
            (GRANTS.c.wallet == DEBTS.c.wallet)
            & (GRANTS.c.payer == DEBTS.c.payer)
            & (GRANTS.c.plan_key == DEBTS.c.plan_key)
            & (GRANTS.c.source == Source.LICENSE.value),
        )
        .where(GRANTS.c.state == GrantState.LIVE.value, GRANTS.c.free > 0, ~GRANTS.c.quarantined)
        .order_by(DEBTS.c.debt_id, GRANTS.c.end_time)
        .limit(1)
    )
    row = (await session.execute(query)).one_or_none()
    if row is None:
        return None
    return row.debt_id, Debt(row.payer, row.wallet, row.plan_key, row.grant_id, row.units), row.cover


async def lock_debt(session: AsyncSession, debt_id: str) -> int:
    """The units that a debt still has, locked; 0 when it is covered."""
    return int(
        await session.scalar(select(DEBTS.c.units).where(DEBTS.c.debt_id == debt_id).with_for_update()) or 0
    )


async def keep_debt(session: AsyncSession, debt_id: str, left: int) -> None:
    """A debt has `left` units after part of it was covered; none: it is gone."""
    if left:
        await session.execute(update(DEBTS).where(DEBTS.c.debt_id == debt_id).values(units=left))
    else:
        await session.execute(delete(DEBTS).where(DEBTS.c.debt_id == debt_id))


async def grant_page(
    session: AsyncSession, wallets: Collection[str], after: str | None, limit: int
) -> list[Grant]:
    """Grants that these wallets hold or were delegated last, by id, from behind `after`, at most `limit`."""
    used = _used_by(wallets)
    query = select(GRANTS).where(GRANTS.c.wallet.in_(wallets) | used).order_by(GRANTS.c.grant_id).limit(limit)
    if after is not None:
        query = query.where(GRANTS.c.grant_id > after)
    return [_grant(row) for row in await session.execute(query)]


async def lock_wallet_grants(session: AsyncSession, wallet: str) -> dict[str, Grant]:
    """Every grant of a wallet, locked."""
    return await _locked(session, select(GRANTS).where(GRANTS.c.wallet == wallet))


async def uncovered_units(session: AsyncSession) -> int:
    """Units of all open debts, for the metrics."""
    return int(await session.scalar(select(func.coalesce(func.sum(DEBTS.c.units), 0))) or 0)
