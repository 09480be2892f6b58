"""Charges: one row for each metered call."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import case, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from licet_billing.db.bulk import AMOUNT, insert_rows
from licet_billing.db.rights import PLAN_STANDS
from licet_billing.db.tables import ChargeRow
from licet_billing.domain.settlement import BatchKey, Cap, Leaf, Stuck
from licet_billing.domain.usage import Charge, Disposition, Grant, Source, UsageRecord

_COLUMNS = {
    "request_id": "text",
    "lease_id": "text",
    "sequence": AMOUNT,
    "account_id": "text",
    "account_lease": AMOUNT,
    "grant_id": "text",
    "source": "text",
    "chain_id": "bigint",
    "operator": "text",
    "payer": "text",
    "deposit_id": "text",
    "asset_id": "text",
    "plan_id": "text",
    "price_book_version": "text",
    "currency": "text",
    "units": AMOUNT,
    "unit_price": AMOUNT,
    "value": AMOUNT,
    "amount": AMOUNT,
    "disposition": "text",
    "outcome": "smallint",
    "started_at": "timestamptz",
    "ended_at": "timestamptz",
    "receipt_hash": "bytea",
    "salt": "bytea",
    "record": "bytea",
    "authority": "text",
    "window": "bigint",
}

# What a charge takes of its grant: Charge.quantity.
_QUANTITY = case((ChargeRow.source == Source.LICENSE, ChargeRow.units), else_=ChargeRow.value)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class ReceiptedCharge:
    """A charge with its call and receipt: the receipt's EIP-712 digest, the leaf's salt, and the record as it came."""

    charge: Charge
    record: UsageRecord
    receipt_hash: bytes
    salt: bytes
    message: bytes


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _values(receipted: ReceiptedCharge) -> tuple[object, ...]:
    charge, record = receipted.charge, receipted.record
    return (
        record.request_id,
        record.lease_id,
        record.sequence,
        record.account_id,
        record.account_lease,
        record.grant_id,
        str(charge.source),
        charge.chain_id,
        charge.operator,
        charge.payer,
        charge.deposit_id,
        record.asset_id,
        record.plan_id,
        record.price_book_version,
        charge.currency,
        record.units,
        charge.unit_price,
        charge.value,
        charge.amount,
        str(charge.disposition),
        int(record.outcome),
        _time(record.started_at_ms),
        _time(record.ended_at_ms),
        receipted.receipt_hash,
        receipted.salt,
        receipted.message,
        charge.authority,
        charge.window,
    )


def columns_of(receipted: ReceiptedCharge) -> dict[str, object]:
    """The row of a charge as it is stored, column by column."""
    return dict(zip(_COLUMNS, _values(receipted), strict=True))


async def insert_charges(session: AsyncSession, charges: Sequence[ReceiptedCharge]) -> None:
    """Stores new charges. The primary key refuses a request that is charged already."""
    await insert_rows(session, "charges", _COLUMNS, [_values(charge) for charge in charges])


def charge_of(row: ChargeRow) -> Charge:
    """The domain's view of a row."""
    return Charge(
        request_id=row.request_id,
        source=Source(row.source),
        chain_id=row.chain_id,
        operator=row.operator,
        payer=row.payer,
        deposit_id=row.deposit_id,
        currency=row.currency,
        units=row.units,
        unit_price=row.unit_price,
        value=row.value,
        amount=row.amount,
        disposition=Disposition(row.disposition),
        authority=row.authority,
        window=row.window,
    )


async def uncovered(session: AsyncSession, grant: Grant, limit: int) -> list[Charge]:
    """The oldest charges that this grant, which the caller has locked, did not cover and each of which now fits.

    None of a plan that is not on chain: nobody owes its price.
    """
    rows = await session.execute(
        select(ChargeRow)
        .where(
            ChargeRow.grant_id == grant.grant_id,  # type: ignore[arg-type]
            ChargeRow.disposition == Disposition.UNCOVERED,  # type: ignore[arg-type]
            grant.granted - grant.charged >= _QUANTITY,
            text(PLAN_STANDS),
        )
        .order_by(ChargeRow.seq)  # type: ignore[arg-type]
        .limit(limit)
    )
    return [charge_of(row) for row in rows.scalars()]


async def save_covered(session: AsyncSession, charges: Collection[Charge]) -> None:
    """Stores that these charges are billed after all."""
    await session.execute(
        text(
            "UPDATE charges SET disposition = 'billed', amount = CASE source WHEN 'license' THEN 0 ELSE value END"
            " WHERE request_id = ANY(:ids)"
        ),
        {"ids": [charge.request_id for charge in charges]},
    )


async def open_leaves(
    session: AsyncSession, chain_id: int, operator: str, currencies: Iterable[str], limit: int
) -> list[Leaf]:
    """The oldest billed charges of each of these currencies that are in no batch, so that none waits for another."""
    found: list[Leaf] = []
    for currency in sorted(currencies):
        rows = await session.execute(
            select(ChargeRow)
            .where(
                ChargeRow.chain_id == chain_id,  # type: ignore[arg-type]
                ChargeRow.operator == operator,  # type: ignore[arg-type]
                ChargeRow.currency == currency,  # type: ignore[arg-type]
                ChargeRow.batch.is_(None),  # type: ignore[union-attr]
                ChargeRow.amount > 0,  # type: ignore[arg-type]
            )
            .order_by(ChargeRow.seq)  # type: ignore[arg-type]
            .limit(limit)
        )
        found += [leaf_of(row) for row in rows.scalars()]
    return found


async def open_currencies(session: AsyncSession, chain_id: int, operator: str) -> list[str]:
    """Currencies of the billed charges that are in no batch, or in one that is only prepared."""
    rows = await session.execute(
        text(
            "SELECT currency FROM charges WHERE chain_id = :chain_id AND operator = :operator"
            " AND batch IS NULL AND amount > 0 UNION"
            " SELECT i.currency FROM settlement_items i JOIN settlement_batches b USING (chain_id, operator, number)"
            " WHERE chain_id = :chain_id AND operator = :operator AND b.state = 'prepared'"
        ),
        {"chain_id": chain_id, "operator": operator},
    )
    return list(rows.scalars())


def leaf_of(row: ChargeRow) -> Leaf:
    """What a sum tree needs of a charge."""
    return Leaf(
        request_id=row.request_id,
        deposit_id=row.deposit_id,
        asset_id=row.asset_id,
        currency=row.currency,
        payer=row.payer,
        amount=row.amount,
        receipt_hash=row.receipt_hash,
        salt=row.salt,
        authority=row.authority,
        window=row.window,
    )


async def leaves(session: AsyncSession, key: BatchKey) -> dict[int, list[Leaf]]:
    """The charges of a batch: item to its charges in leaf order."""
    rows = await session.execute(
        select(ChargeRow)
        .where(
            ChargeRow.chain_id == key.chain_id,  # type: ignore[arg-type]
            ChargeRow.operator == key.operator,  # type: ignore[arg-type]
            ChargeRow.batch == key.number,  # type: ignore[arg-type]
        )
        .order_by(ChargeRow.item, ChargeRow.leaf)  # type: ignore[arg-type]
    )
    found: dict[int, list[Leaf]] = {}
    for row in rows.scalars():
        found.setdefault(row.item or 0, []).append(leaf_of(row))
    return found


async def assign(session: AsyncSession, number: int, places: Sequence[tuple[str, int, int]]) -> None:
    """Puts charges, each (request id, item, leaf), into a batch. A charge that is in one already is left there."""
    await session.execute(
        text(
            "UPDATE charges c SET batch = :number, item = p.item, leaf = p.leaf FROM unnest(CAST(:ids AS text[]),"
            " CAST(:items AS integer[]), CAST(:leaves AS integer[])) AS p(request_id, item, leaf)"
            " WHERE c.request_id = p.request_id AND c.batch IS NULL"
        ),
        {
            "number": number,
            "ids": [place[0] for place in places],
            "items": [place[1] for place in places],
            "leaves": [place[2] for place in places],
        },
    )


async def stuck(session: AsyncSession, chain_id: int, operator: str, caps: Mapping[str, Cap]) -> list[Stuck]:
    """The oldest charge of each currency that is in no batch and above the whole cap."""
    found = []
    for currency, cap in sorted(caps.items()):
        rows = await session.execute(
            text(
                "SELECT request_id, amount FROM charges WHERE chain_id = :chain_id AND operator = :operator"
                " AND currency = :currency AND batch IS NULL AND amount > 0"
                " AND amount > CAST(CAST(:cap AS text) AS numeric) ORDER BY seq LIMIT 1"
            ),
            {"chain_id": chain_id, "operator": operator, "currency": currency, "cap": str(cap.whole)},
        )
        found += [Stuck(chain_id, currency, row.request_id, int(row.amount), cap.whole) for row in rows]
    return found


async def release(session: AsyncSession, key: BatchKey) -> None:
    """Takes the charges of a batch out of it again."""
    await session.execute(
        text(
            "UPDATE charges SET batch = NULL, item = NULL, leaf = NULL"
            " WHERE chain_id = :chain_id AND operator = :operator AND batch = :number"
        ),
        {"chain_id": key.chain_id, "operator": key.operator, "number": key.number},
    )


async def charge(session: AsyncSession, request_id: str, account_id: str) -> ChargeRow | None:
    """The charge of a request, if it is this account's."""
    found: ChargeRow | None = await session.scalar(
        select(ChargeRow).where(
            ChargeRow.request_id == request_id,  # type: ignore[arg-type]
            ChargeRow.account_id == account_id,  # type: ignore[arg-type]
        )
    )
    return found


async def charges_of(
    session: AsyncSession, account_id: str, *, before: int | None, limit: int
) -> list[ChargeRow]:
    """An account's charges, newest first, below the cursor."""
    query = select(ChargeRow).where(ChargeRow.account_id == account_id)  # type: ignore[arg-type]
    if before is not None:
        query = query.where(ChargeRow.seq < before)  # type: ignore[arg-type]
    return list((await session.execute(query.order_by(ChargeRow.seq.desc()).limit(limit))).scalars())  # type: ignore[attr-defined]


async def receipt_hashes(session: AsyncSession, request_ids: Collection[str]) -> dict[str, bytes]:
    """Receipt hash of each of these requests that is charged already."""
    rows = await session.execute(
        text("SELECT request_id, receipt_hash FROM charges WHERE request_id = ANY(:ids)"),
        {"ids": list(request_ids)},
    )
    return {row.request_id: row.receipt_hash for row in rows}


async def record(session: AsyncSession, request_id: str) -> bytes:
    """The usage record of a charged request as it came."""
    return bytes(
        await session.scalar(
            text("SELECT record FROM charges WHERE request_id = :request_id"), {"request_id": request_id}
        )
    )


async def leaves_of_item(session: AsyncSession, key: BatchKey, position: int) -> list[Leaf]:
    """The charges of one line of a batch, in leaf order."""
    rows = await session.execute(
        select(ChargeRow)
        .where(
            ChargeRow.chain_id == key.chain_id,  # type: ignore[arg-type]
            ChargeRow.operator == key.operator,  # type: ignore[arg-type]
            ChargeRow.batch == key.number,  # type: ignore[arg-type]
            ChargeRow.item == position,  # type: ignore[arg-type]
        )
        .order_by(ChargeRow.leaf)  # type: ignore[arg-type]
    )
    return [leaf_of(row) for row in rows.scalars()]
