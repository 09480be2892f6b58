"""What the chain says: mirrors, facts, assets and plans."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Integer,
    Numeric,
    Row,
    Text,
    bindparam,
    func,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncSession

from licet_licensing.db import tables
from licet_licensing.db.tables import table
from licet_licensing.domain.facts import Asset, Fact, FactKind, Place, Plan
from licet_licensing.domain.scene import Mirror

FACTS = table(tables.FactRow)
MIRRORS = table(tables.MirrorRow)
ASSETS = table(tables.AssetRow)
PLANS = table(tables.PlanRow)
_IS_TOTAL = FACTS.c.kind == FactKind.DEPOSIT_TOTAL.value

# First half of the two-part advisory lock of a subject; kit's outbox uses others.
_SUBJECT_LOCK = 0x5B1EC7
_SERIES_LOCK = 0x5E71E5
# Alone where it is to be written, beside others where it is read; in one order, so that nobody waits in a circle.
_LOCK_SERIES = text(
    "SELECT CASE WHEN alone THEN pg_advisory_xact_lock(:space, k) ELSE pg_advisory_xact_lock_shared(:space, k) END"
    " FROM (SELECT hashtext(s) AS k, bool_or(a) AS alone FROM unnest(:subjects, :alone) AS given(s, a)"
    " GROUP BY 1 ORDER BY 1) AS hashes"
).bindparams(
    bindparam("subjects", type_=ARRAY(Text)),
    bindparam("alone", type_=ARRAY(Boolean)),
    bindparam("space", type_=Integer),
)
_LOCK_SUBJECTS = text(
    "SELECT pg_advisory_xact_lock(:space, k) FROM (SELECT DISTINCT hashtext(s) AS k FROM unnest(:subjects) AS s"
    " ORDER BY k) AS hashes"
).bindparams(bindparam("subjects", type_=ARRAY(Text)), bindparam("space", type_=Integer))


async def lock_subjects(session: AsyncSession, subjects: Collection[str]) -> None:
    """Let nobody else follow these subjects until the transaction ends: facts are read and applied as one step."""
    await session.execute(_LOCK_SUBJECTS, {"space": _SUBJECT_LOCK, "subjects": sorted(subjects)})


async def lock_series(session: AsyncSession, written: Collection[str], read: Collection[str]) -> None:
    """Keep apart who hears of a series and who hears of a deposit in it. Before any other subject is locked."""
    wanted = [*((subject, True) for subject in written), *((subject, False) for subject in read)]
    if wanted:
        subjects, alone = zip(*wanted, strict=True)
        values = {"space": _SERIES_LOCK, "subjects": list(subjects), "alone": list(alone)}
        await session.execute(_LOCK_SERIES, values)


async def keep_facts(session: AsyncSession, facts: Sequence[Fact]) -> None:
    """Keep each fact unless something newer is known of the same event."""
    newest: dict[tuple[int, str, int, str], Fact] = {}
    for fact in facts:
        key = (fact.chain_id, fact.block_hash, fact.place.log_index, fact.subject)
        if key not in newest or newest[key].rank < fact.rank:
            newest[key] = fact
    if not newest:
        return
    rows = [_fact_row(newest[key]) for key in sorted(newest)]
    statement = insert(FACTS).values(rows)
    known = tuple_(FACTS.c.incarnation, ~FACTS.c.standing)
    given = tuple_(statement.excluded.incarnation, ~statement.excluded.standing)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[FACTS.c.chain_id, FACTS.c.block_hash, FACTS.c.log_index, FACTS.c.subject],
            set_={"incarnation": statement.excluded.incarnation, "standing": statement.excluded.standing},
            where=known < given,
        )
    )


def _fact_row(fact: Fact) -> dict[str, Any]:
    return {
        "chain_id": fact.chain_id,
        "block_hash": fact.block_hash,
        "log_index": fact.place.log_index,
        "block_number": fact.place.block_number,
        "subject": fact.subject,
        "kind": fact.kind.value,
        "body": dict(fact.body),
        "incarnation": fact.incarnation,
        "standing": fact.standing,
        "is_final": False,
    }


def _fact(row: Row[Any]) -> Fact:
    return Fact(
        chain_id=row.chain_id,
        block_hash=row.block_hash,
        place=Place(row.block_number, row.log_index),
        subject=row.subject,
        kind=FactKind(row.kind),
        body=row.body,
        incarnation=row.incarnation,
        standing=row.standing,
    )


async def mark_final(session: AsyncSession, subjects: Collection[str]) -> None:
    """Mark the standing facts of these subjects that no reorganisation can reach any more."""
    await session.execute(
        update(FACTS)
        .where(FACTS.c.subject.in_(subjects), FACTS.c.standing, ~FACTS.c.is_final)
        .where(MIRRORS.c.chain_id == FACTS.c.chain_id, FACTS.c.block_number <= MIRRORS.c.final_block)
        .values(is_final=True)
    )


async def subjects_to_finalise(session: AsyncSession, limit: int) -> list[str]:
    """Subjects with facts that became final and were not followed since."""
    due = (
        select(FACTS.c.subject)
        .join(MIRRORS, MIRRORS.c.chain_id == FACTS.c.chain_id)
        .where(FACTS.c.standing, ~FACTS.c.is_final, FACTS.c.block_number <= MIRRORS.c.final_block)
        .limit(limit)
    )
    return sorted(set((await session.scalars(due)).all()))


async def standing_facts(session: AsyncSession, subjects: Collection[str]) -> dict[str, list[Fact]]:
    """Every standing fact of these subjects, in chain order."""
    rows = await session.execute(
        select(FACTS)
        .where(FACTS.c.subject.in_(subjects), FACTS.c.standing)
        .order_by(FACTS.c.subject, FACTS.c.block_number, FACTS.c.log_index)
    )
    found: dict[str, list[Fact]] = {}
    for row in rows:
        found.setdefault(row.subject, []).append(_fact(row))
    return found


async def newest_facts(session: AsyncSession, subjects: Collection[str]) -> dict[tuple[str, FactKind], Fact]:
    """The newest standing fact of each kind: what later events of one kind replace."""
    rows = await session.execute(
        select(FACTS)
        .ext(distinct_on(FACTS.c.subject, FACTS.c.kind))
        .where(FACTS.c.subject.in_(subjects), FACTS.c.standing)
        .order_by(FACTS.c.subject, FACTS.c.kind, FACTS.c.block_number.desc(), FACTS.c.log_index.desc())
    )
    return {(row.subject, FactKind(row.kind)): _fact(row) for row in rows}


async def deposit_facts(
    session: AsyncSession, subjects: Collection[str]
) -> dict[str, tuple[Fact | None, list[Fact]]]:
    """For each deposit the newest final fact of its total and, in chain order, every one since."""
    facts = await standing_facts(session, subjects)
    final_rows = await session.execute(
        select(FACTS)
        .ext(distinct_on(FACTS.c.subject))
        .where(FACTS.c.subject.in_(subjects), FACTS.c.standing, FACTS.c.is_final, _IS_TOTAL)
        .order_by(FACTS.c.subject, FACTS.c.block_number.desc(), FACTS.c.log_index.desc())
    )
    final = {row.subject: _fact(row) for row in final_rows}
    found: dict[str, tuple[Fact | None, list[Fact]]] = {}
    for subject in subjects:
        newest = final.get(subject)
        totals = [f for f in facts.get(subject, []) if f.kind is FactKind.DEPOSIT_TOTAL]
        found[subject] = (newest, [f for f in totals if newest is None or f.place > newest.place])
    return found


async def written_off(session: AsyncSession, subjects: Collection[str]) -> dict[tuple[str, str], int]:
    """What final settlements asked of these deposits in vain: {(deposit, operator): amount}."""
    operator = FACTS.c.body["operator"].astext
    rows = await session.execute(
        select(FACTS.c.subject, operator, func.sum(FACTS.c.body["amount"].astext.cast(Numeric)))
        .where(
            FACTS.c.subject.in_(subjects),
            FACTS.c.kind == FactKind.DEPOSIT_SHORTFALL.value,
            FACTS.c.standing,
            FACTS.c.is_final,
        )
        .group_by(FACTS.c.subject, operator)
    )
    return {(subject, by): int(amount) for subject, by, amount in rows}


async def forget_superseded(session: AsyncSession, finals: Collection[Fact]) -> None:
    """Drop totals of deposits that a newer final total of the same deposit has replaced for good."""
    for fact in finals:
        older = tuple_(FACTS.c.block_number, FACTS.c.log_index) < (
            fact.place.block_number,
            fact.place.log_index,
        )
        await session.execute(FACTS.delete().where(FACTS.c.subject == fact.subject, _IS_TOTAL, older))


async def licenses_of_plans(session: AsyncSession, plan_keys: Collection[str]) -> set[str]:
    """Subjects of purchases of these plans: they wait when the purchase was heard of before its plan."""
    rows = await session.scalars(
        select(FACTS.c.subject).where(
            FACTS.c.kind == FactKind.LICENSE_PURCHASED.value,
            FACTS.c.body["plan_key"].astext.in_(plan_keys),
            FACTS.c.standing,
        )
    )
    return set(rows.all())


async def hear_of_blocks(
    session: AsyncSession, newest: Mapping[int, tuple[int, str]], heard_at: datetime
) -> None:
    """Note, for each chain, the newest block that an event was heard of."""
    for chain_id, (number, block_hash) in sorted(newest.items()):
        statement = insert(MIRRORS).values(
            chain_id=chain_id, block_number=number, block_hash=block_hash, final_block=-1, heard_at=heard_at
        )
        ahead = statement.excluded.block_number >= MIRRORS.c.block_number
        await session.execute(
            statement.on_conflict_do_update(
                index_elements=[MIRRORS.c.chain_id],
                set_={
                    "block_number": func.greatest(MIRRORS.c.block_number, statement.excluded.block_number),
                    "block_hash": text(
                        "CASE WHEN excluded.block_number >= mirrors.block_number"
                        " THEN excluded.block_hash ELSE mirrors.block_hash END"
                    ),
                    "heard_at": func.greatest(MIRRORS.c.heard_at, statement.excluded.heard_at),
                },
                where=or_(ahead, statement.excluded.heard_at > MIRRORS.c.heard_at),
            )
        )


async def hear_of_retraction(session: AsyncSession, chain_id: int, below: int, heard_at: datetime) -> None:
    """Note that blocks from `below` on have left the chain: nothing newer is known."""
    await session.execute(
        update(MIRRORS)
        .where(MIRRORS.c.chain_id == chain_id, MIRRORS.c.block_number >= below)
        .values(block_number=below - 1, block_hash="", heard_at=func.greatest(MIRRORS.c.heard_at, heard_at))
    )


async def hear_of_finality(
    session: AsyncSession, chain_id: int, number: int, block_hash: str, heard_at: datetime
) -> None:
    """Note the highest final block; it never falls."""
    await hear_of_blocks(session, {chain_id: (number, block_hash)}, heard_at)
    await session.execute(
        update(MIRRORS)
        .where(MIRRORS.c.chain_id == chain_id, MIRRORS.c.final_block < number)
        .values(final_block=number)
    )


async def mirrors(session: AsyncSession) -> dict[int, Mirror]:
    """How well each chain is known."""
    rows = await session.execute(select(MIRRORS))
    return {
        row.chain_id: Mirror(
            row.chain_id, row.block_number, row.block_hash, row.final_block, row.heard_at.timestamp()
        )
        for row in rows
    }


async def save_asset(session: AsyncSession, asset: Asset, *, standing: bool) -> None:
    """Write an asset as its facts say it is; `last_block` is kept by `touch_assets`."""
    values = {
        "asset_id": asset.asset_id,
        "chain_id": asset.chain_id,
        "slug": asset.slug,
        "version_digest": asset.version_digest,
        "last_block": asset.last_block,
        "standing": standing,
    }
    changed = {name: values[name] for name in ("slug", "version_digest", "standing")}
    statement = insert(ASSETS).values(values)
    await session.execute(statement.on_conflict_do_update(index_elements=[ASSETS.c.asset_id], set_=changed))


async def withdraw_asset(session: AsyncSession, asset_id: str) -> None:
    """The asset's registration left the chain."""
    await session.execute(update(ASSETS).where(ASSETS.c.asset_id == asset_id).values(standing=False))


async def touch_assets(session: AsyncSession, blocks: Mapping[str, int]) -> None:
    """Note up to which block each asset's events were heard of."""
    if blocks:
        rows = [{"key": asset_id, "block": blocks[asset_id]} for asset_id in sorted(blocks)]
        statement = (
            update(ASSETS)
            .where(ASSETS.c.asset_id == bindparam("key"))
            .values(last_block=func.greatest(ASSETS.c.last_block, bindparam("block", type_=BigInteger)))
        )
        connection = await session.connection()
        await connection.execute(statement, rows)


async def save_plan(session: AsyncSession, plan: Plan) -> None:
    """Write a plan as its standing fact says it is.

    Terms never change on one chain, but before finality another plan may take the id on another branch.
    """
    values = asdict(plan)
    statement = insert(PLANS).values(values)
    await session.execute(statement.on_conflict_do_update(index_elements=[PLANS.c.plan_key], set_=values))


def _plan(row: Row[Any]) -> Plan:
    return Plan(**row._mapping)


async def plans(session: AsyncSession, keys: Collection[str]) -> dict[str, Plan]:
    """Plans by price book version."""
    rows = await session.execute(select(PLANS).where(PLANS.c.plan_key.in_(keys)))
    return {row.plan_key: _plan(row) for row in rows}


async def optimistic_amount(session: AsyncSession, chain_id: int, operator: str, currency: str) -> int:
    """The most that any plan of this operator lends on a deposit that is not final; each plan has its own limit too."""
    found = await session.scalar(
        select(func.max(PLANS.c.optimistic_amount)).where(
            PLANS.c.chain_id == chain_id, PLANS.c.server == operator, PLANS.c.currency == currency
        )
    )
    return int(found or 0)


async def assets(session: AsyncSession, asset_ids: Collection[str], slugs: Collection[str]) -> list[Asset]:
    """Standing assets by id or slug, those of lower chain ids first."""
    rows = await session.execute(
        select(ASSETS)
        .where(ASSETS.c.standing, or_(ASSETS.c.asset_id.in_(asset_ids), ASSETS.c.slug.in_(slugs)))
        .order_by(ASSETS.c.chain_id, ASSETS.c.asset_id)
    )
    return [Asset(row.asset_id, row.chain_id, row.slug, row.version_digest, row.last_block) for row in rows]
