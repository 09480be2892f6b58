"""Routes of what people hold: licenses, deposits, the batches settled from them, and what these hold."""

from __future__ import annotations

from collections import defaultdict

from fastapi import APIRouter

from licet_indexer.api.edge import (
    DEFAULT_LIMIT,
    AddressFilter,
    ChainFilter,
    ChainPath,
    Cursor,
    HashFilter,
    IdFilter,
    IdPath,
    Limit,
    Part,
    Snapshot,
    View,
    listing,
    not_found,
    place_from,
)
from licet_indexer.api.models import (
    BatchOut,
    DepositOut,
    ExitOut,
    HoldOut,
    LicenseAnswer,
    LicenseOut,
    Listing,
)
from licet_indexer.db.reads import IS_HELD, open_exits_of, page
from licet_indexer.domain.rows import Batch, Deposit, Exit, Hold, License

router = APIRouter(prefix="/v1", tags=["rights"])

_LICENSES = {"chain_id": Part.BIG, "token_id": Part.WIDE}
_DEPOSITS = {"chain_id": Part.BIG, "deposit_id": Part.HEX}
_BATCHES = {"chain_id": Part.BIG, "operator": Part.HEX, "batch": Part.BIG}
_HOLDS = {**_BATCHES, "asset_id": Part.HEX, "token": Part.HEX}


@router.get("/licenses", summary="Licenses, oldest first")
async def licenses(
    view: View,
    holder: AddressFilter = None,
    asset_id: HashFilter = None,
    plan_id: IdFilter = None,
    chain_id: ChainFilter = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Listing[LicenseOut]:
    plan = int(plan_id) if plan_id is not None else None
    where = {"holder": holder, "asset_id": asset_id, "plan_id": plan, "chain_id": chain_id}
    after = place_from(cursor, _LICENSES)
    rows = await page(view.session, License, where=where, order=[*_LICENSES], after=after, limit=limit + 1)
    return listing(
        rows, limit, _LICENSES, lambda row: LicenseOut(**view.fields(row)), view.positions(chain_id)
    )


@router.get("/licenses/{chain_id}/{token_id}", summary="A license")
async def license_of(view: View, chain_id: ChainPath, token_id: IdPath) -> LicenseAnswer:
    where = {"chain_id": chain_id, "token_id": int(token_id)}
    rows = await page(view.session, License, where=where, order=[*_LICENSES], after=None, limit=1)
    if not rows:
        raise not_found(f"license {token_id} on chain {chain_id}")
    return LicenseAnswer(**view.fields(rows[0]), position=view.position(chain_id))


@router.get("/deposits", summary="Deposits with their open exits")
async def deposits(
    view: View,
    payer: AddressFilter = None,
    operator: AddressFilter = None,
    chain_id: ChainFilter = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Listing[DepositOut]:
    where = {"payer": payer, "operator": operator, "chain_id": chain_id}
    after = place_from(cursor, _DEPOSITS)
    rows = await page(view.session, Deposit, where=where, order=[*_DEPOSITS], after=after, limit=limit + 1)
    exits = defaultdict[tuple[int, str], list[Exit]](list)
    for row in await open_exits_of(view.session, [(d.chain_id, d.deposit_id) for d in rows]):
        exits[row.chain_id, row.deposit_id].append(row)
    return listing(
        rows,
        limit,
        _DEPOSITS,
        lambda row: _deposit(view, row, exits[row.chain_id, row.deposit_id]),
        view.positions(chain_id),
    )


@router.get("/batches", summary="Settled batches, oldest first for each operator")
async def batches(
    view: View,
    operator: AddressFilter = None,
    chain_id: ChainFilter = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Listing[BatchOut]:
    where = {"operator": operator, "chain_id": chain_id}
    after = place_from(cursor, _BATCHES)
    rows = await page(view.session, Batch, where=where, order=[*_BATCHES], after=after, limit=limit + 1)
    return listing(
        rows,
        limit,
        _BATCHES,
        lambda row: BatchOut(**view.fields(row), block_number=row.changed_block),
        view.positions(chain_id),
    )


@router.get("/holds", summary="What settlements still hold for assets, oldest first for each operator")
async def holds(
    view: View,
    asset_id: HashFilter = None,
    operator: AddressFilter = None,
    chain_id: ChainFilter = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Listing[HoldOut]:
    where = {"asset_id": asset_id, "operator": operator, "chain_id": chain_id}
    after = place_from(cursor, _HOLDS)
    rows = await page(
        view.session, Hold, where=where, order=[*_HOLDS], after=after, limit=limit + 1, only=IS_HELD
    )
    return listing(
        rows,
        limit,
        _HOLDS,
        lambda row: HoldOut(**view.fields(row), held=str(row.paid - row.refunded - row.released)),
        view.positions(chain_id),
    )


def _deposit(view: Snapshot, row: Deposit, exits: list[Exit]) -> DepositOut:
    # The model takes the fields it knows and leaves the exit's keys, which the deposit has already.
    shown = [ExitOut(**view.fields(entry)) for entry in exits]
    return DepositOut(**view.fields(row), spendable=str(row.total - row.drawn), exits=shown)
