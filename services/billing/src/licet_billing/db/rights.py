"""What billing knows of grants, plans, operators' keys, fences and finality."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from licet_billing.db.bulk import AMOUNT, insert_rows
from licet_billing.db.tables import TABLES, GrantRow, OperatorKeyRow, PlanRow
from licet_billing.domain.money import ChainPosition
from licet_billing.domain.receipts import OperatorKey
from licet_billing.domain.usage import Grant, Plan, PlanKey, Source

# Of a charge: its plan is on chain, with the terms that it was rated by.
PLAN_STANDS: Final = (
    "EXISTS (SELECT 1 FROM plans WHERE plans.chain_id = charges.chain_id"
    " AND plans.contract = split_part(charges.price_book_version, ':', 2) AND plans.plan_id = charges.plan_id"
    " AND NOT plans.retracted AND plans.asset_id = charges.asset_id AND plans.currency = charges.currency"
    " AND plans.unit_price = charges.unit_price AND plans.server = charges.operator)"
)
_GRANT_FIELDS = (
    "grant_id",
    "version",
    "source",
    "state",
    "account_id",
    "wallet",
    "chain_id",
    "contract",
    "token_id",
    "plan_id",
    "asset_id",
    "currency",
    "operator",
    "granted",
    "window",
)


async def save_grant(session: AsyncSession, grant: Grant) -> bool:
    """Stores the state unless a newer one is known; says whether it was stored. `charged` is kept."""
    values = {name: getattr(grant, name) for name in _GRANT_FIELDS} | {"source": str(grant.source)}
    statement = insert(GrantRow).values(**values)
    changed = {name: statement.excluded[name] for name in _GRANT_FIELDS if name != "grant_id"}
    stored = await session.execute(
        statement.on_conflict_do_update(
            index_elements=["grant_id"], set_=changed, where=GrantRow.version < statement.excluded.version
        ).returning(statement.table.c.grant_id)
    )
    return stored.first() is not None


async def lock_grants(session: AsyncSession, grant_ids: Collection[str]) -> dict[str, Grant]:
    """The known ones of these grants, locked in the order of their ids, so that no two batches wait for each other."""
    rows = await session.execute(
        select(GrantRow)
        .where(GrantRow.grant_id.in_(grant_ids))  # type: ignore[attr-defined]
        .order_by(GrantRow.grant_id)
        .with_for_update()
    )
    return {row.grant_id: _grant(row) for row in rows.scalars()}


def _grant(row: GrantRow) -> Grant:
    fields = {name: getattr(row, name) for name in _GRANT_FIELDS}
    return Grant(**fields | {"source": Source(row.source)}, charged=row.charged)


async def save_charged(session: AsyncSession, grants: Collection[Grant]) -> None:
    """Stores how much of these locked grants is charged."""
    await session.execute(
        text(
            "UPDATE grants g SET charged = n.charged FROM unnest(CAST(:ids AS text[]),"
            " CAST(CAST(:charged AS text[]) AS numeric[])) AS n(grant_id, charged) WHERE g.grant_id = n.grant_id"
        ),
        {"ids": [g.grant_id for g in grants], "charged": [str(g.charged) for g in grants]},
    )


async def grants_to_cover(session: AsyncSession, limit: int) -> list[str]:
    """Grants that cover by now a charge which they did not cover when it arrived."""
    to_cover = (
        "SELECT g.grant_id FROM grants g WHERE EXISTS (SELECT 1 FROM charges WHERE charges.grant_id = g.grant_id"  # noqa: S608 - constants only
        " AND disposition = 'uncovered'"
        " AND CASE charges.source WHEN 'license' THEN units ELSE value END <= g.granted - g.charged"
        f" AND {PLAN_STANDS}) ORDER BY g.grant_id LIMIT :limit"
    )
    rows = await session.execute(text(to_cover), {"limit": limit})
    return list(rows.scalars())


async def statements(session: AsyncSession, keys: Collection[PlanKey]) -> dict[PlanKey, list[Plan]]:
    """All that was stated of these plans: what stands first, and of that the latest on chain."""
    wanted = [(key.chain_id, key.contract, key.plan_id) for key in keys]
    columns = tuple_(PlanRow.chain_id, PlanRow.contract, PlanRow.plan_id)
    block_number: Any = PlanRow.block_number
    log_index: Any = PlanRow.log_index
    order: Any = (PlanRow.retracted, block_number.desc(), log_index.desc())
    rows = await session.execute(select(PlanRow).where(columns.in_(wanted)).order_by(*order))
    found: dict[PlanKey, list[Plan]] = {}
    for row in rows.scalars():
        key = PlanKey(row.chain_id, row.contract, row.plan_id)
        plan = Plan(
            key, row.asset_id, row.currency, row.unit_price, row.metering_rule, row.server, gone=row.retracted
        )
        found.setdefault(key, []).append(plan)
    return found


async def plans(session: AsyncSession, keys: Collection[PlanKey]) -> dict[PlanKey, Plan]:
    """The known ones of these plans as they stand, or stood last."""
    return {key: stated[0] for key, stated in (await statements(session, keys)).items()}


async def save_plan(session: AsyncSession, plan: Plan, position: ChainPosition) -> None:
    """Stores one statement of a plan."""
    values = {
        "position_id": position.id,
        "chain_id": plan.key.chain_id,
        "contract": plan.key.contract,
        "plan_id": plan.key.plan_id,
        "asset_id": plan.asset_id,
        "currency": plan.currency,
        "unit_price": plan.unit_price,
        "metering_rule": plan.metering_rule,
        "server": plan.server,
        "block_number": position.block_number,
        "log_index": position.log_index,
        "retracted": plan.gone,
    }
    await session.execute(insert(PlanRow).values(**values).on_conflict_do_nothing())


async def save_operator_key(session: AsyncSession, key: OperatorKey) -> None:
    """Stores one statement of a key's validity."""
    values = {name: getattr(key, name) for name in OperatorKey.__slots__}
    await session.execute(insert(OperatorKeyRow).values(**values).on_conflict_do_nothing())


async def remember_retracted(session: AsyncSession, position_id: str) -> None:
    """Remembers that this truth has left the chain, for an observation that arrives after its retraction."""
    await insert_rows(
        session,
        "retracted_positions",
        {"position_id": "text"},
        [(position_id,)],
        conflict="ON CONFLICT DO NOTHING",
    )


async def is_retracted(session: AsyncSession, position_id: str) -> bool:
    """Whether this truth has left the chain."""
    found = await session.scalar(
        text("SELECT 1 FROM retracted_positions WHERE position_id = :id"), {"id": position_id}
    )
    return found is not None


async def retract(session: AsyncSession, position_id: str) -> None:
    """Takes back the plan or key statement that came from a log which has left the chain.

    A plan is kept, marked: calls that used it may still arrive, and are operator loss.
    """
    await session.execute(
        update(PlanRow).where(PlanRow.position_id == position_id).values(retracted=True)  # type: ignore[arg-type]
    )
    await session.execute(delete(OperatorKeyRow).where(OperatorKeyRow.position_id == position_id))  # type: ignore[arg-type]


async def operator_keys(
    session: AsyncSession, operators: Collection[tuple[int, str]]
) -> dict[tuple[int, str], dict[str, tuple[int, int]]]:
    """For each (chain, operator): receipt key to its validity, as its latest statement on chain has it."""
    columns = tuple_(OperatorKeyRow.chain_id, OperatorKeyRow.operator)
    rows = await session.execute(
        select(OperatorKeyRow)
        .where(columns.in_(list(operators)))
        .order_by(OperatorKeyRow.block_number, OperatorKeyRow.log_index)  # type: ignore[arg-type]
    )
    found: dict[tuple[int, str], dict[str, tuple[int, int]]] = {}
    for row in rows.scalars():
        keys = found.setdefault((row.chain_id, row.operator), {})
        keys[row.receipt_key] = (row.valid_from, row.valid_until)
    return found


async def save_fence(
    session: AsyncSession, *, lease_id: str, grant_id: str, event_id: str, fenced_at: datetime
) -> None:
    """Remembers that licensing gave this lease up at this place of the usage log."""
    await insert_rows(
        session,
        "fences",
        {"lease_id": "text", "grant_id": "text", "event_id": "text", "fenced_at": "timestamptz"},
        [(lease_id, grant_id, event_id, fenced_at)],
        conflict="ON CONFLICT (lease_id) DO NOTHING",
    )


async def fenced(session: AsyncSession, lease_ids: Collection[str]) -> set[str]:
    """Which of these leases are fenced."""
    rows = await session.execute(
        text("SELECT lease_id FROM fences WHERE lease_id = ANY(:ids)"), {"ids": list(lease_ids)}
    )
    return set(rows.scalars())


async def save_ends(session: AsyncSession, ends: Mapping[str, int]) -> None:
    """Stores the last sequence of these leases. One that is told again can only be an earlier one."""
    await insert_rows(
        session,
        "lease_ends",
        {"lease_id": "text", "last_sequence": AMOUNT},
        list(ends.items()),
        conflict="ON CONFLICT (lease_id) DO UPDATE SET last_sequence = excluded.last_sequence"
        " WHERE excluded.last_sequence < lease_ends.last_sequence",
    )


async def ends(session: AsyncSession, lease_ids: Collection[str]) -> dict[str, int]:
    """Last sequence of each of these leases that has told it."""
    rows = await session.execute(
        text("SELECT lease_id, last_sequence FROM lease_ends WHERE lease_id = ANY(:ids)"),
        {"ids": list(lease_ids)},
    )
    return {row.lease_id: int(row.last_sequence) for row in rows}


async def save_finality(session: AsyncSession, chain_id: int, number: int, hash_: str, time: int) -> bool:
    """Raises a chain's final block; says whether it rose."""
    result = await session.execute(
        text(
            "INSERT INTO finality VALUES (:chain_id, :number, :hash, :time) ON CONFLICT (chain_id) DO UPDATE"
            " SET block_number = excluded.block_number, block_hash = excluded.block_hash,"
            " block_time = excluded.block_time WHERE finality.block_number < excluded.block_number"
            " RETURNING chain_id"
        ),
        {"chain_id": chain_id, "number": number, "hash": hash_, "time": time},
    )
    return result.first() is not None


async def finality(session: AsyncSession, chain_id: int) -> tuple[int, str]:
    """Number and hash of the chain's highest final block; (0, "") before the first."""
    rows = await session.execute(
        text("SELECT block_number, block_hash FROM finality WHERE chain_id = :chain_id"),
        {"chain_id": chain_id},
    )
    row = rows.first()
    return (int(row.block_number), str(row.block_hash)) if row else (0, "")


async def waiting_keys(session: AsyncSession, consumer: str, topic: str, parent: str) -> list[str]:
    """Quarantined keys of a consumer whose detail names this parent."""
    table = TABLES.quarantine
    rows = await session.execute(
        select(table.c.key).where(
            table.c.consumer == consumer, table.c.topic == topic, table.c.detail == parent
        )
    )
    return list(rows.scalars())
