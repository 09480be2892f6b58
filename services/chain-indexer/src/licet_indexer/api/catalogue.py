"""Routes of what is on sale: assets, their versions, plans."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from licet_kit.problems import Problem

from licet_indexer.api.edge import (
    DEFAULT_LIMIT,
    AddressFilter,
    ChainFilter,
    ChainPath,
    Cursor,
    HashFilter,
    HashPath,
    IdPath,
    Limit,
    Part,
    SlugPart,
    Snapshot,
    View,
    listing,
    not_found,
    place_from,
)
from licet_indexer.api.models import (
    AssetAnswer,
    AssetOut,
    Listing,
    MirrorOut,
    PlanAnswer,
    PlanOut,
    SeriesOut,
    VersionOut,
)
from licet_indexer.db.reads import Value, page
from licet_indexer.domain.rows import Asset, AssetMirror, Plan, Series, Version

router = APIRouter(prefix="/v1", tags=["catalogue"])

_ASSETS = {"chain_id": Part.BIG, "registered_block": Part.BIG, "asset_id": Part.HEX}
_VERSIONS = {"chain_id": Part.BIG, "ordinal": Part.BIG, "version_digest": Part.HEX}
_MIRRORS = {"chain_id": Part.BIG, "asset_id": Part.HEX}
_PLANS = {"chain_id": Part.BIG, "plan_id": Part.WIDE}
_SERIES = {"chain_id": Part.BIG, "token": Part.HEX}


@router.get("/assets", summary="Assets, oldest first")
async def assets(
    view: View,
    chain_id: ChainFilter = None,
    owner: AddressFilter = None,
    kind: Annotated[int | None, Query(ge=1, le=4)] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Listing[AssetOut]:
    where = {"chain_id": chain_id, "owner": owner, "kind": kind}
    after = place_from(cursor, _ASSETS)
    rows = await page(view.session, Asset, where=where, order=[*_ASSETS], after=after, limit=limit + 1)
    return listing(rows, limit, _ASSETS, lambda row: AssetOut(**view.fields(row)), view.positions(chain_id))


@router.get("/assets/by-slug/{owner}/{model}", summary="An asset by its slug")
async def asset_by_slug(
    view: View, owner: SlugPart, model: SlugPart, chain_id: ChainFilter = None
) -> AssetAnswer:
    slug = f"{owner}/{model}"
    where = {"slug": slug, "chain_id": chain_id}
    rows = await page(view.session, Asset, where=where, order=[*_ASSETS], after=None, limit=2)
    if len(rows) > 1:
        remedy = "say which one by ?chain_id="
        raise Problem(409, "slug_ambiguous", f"{slug} is registered on more than one chain", remedy=remedy)
    return _asset(view, rows, f"asset {slug}")


@router.get("/assets/{asset_id}", summary="An asset")
async def asset(view: View, asset_id: HashPath) -> AssetAnswer:
    return _asset(view, await _assets(view, asset_id), f"asset {asset_id}")


@router.get("/assets/{asset_id}/versions", summary="Versions of an asset, oldest first")
async def versions(
    view: View, asset_id: HashPath, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Listing[VersionOut]:
    after = place_from(cursor, _VERSIONS)
    owner = await _assets(view, asset_id)
    if not owner:
        raise not_found(f"asset {asset_id}")
    chain_id, active = owner[0].chain_id, owner[0].active_version
    where: dict[str, Value | None] = {"asset_id": asset_id, "chain_id": chain_id}
    rows = await page(view.session, Version, where=where, order=[*_VERSIONS], after=after, limit=limit + 1)
    return listing(
        rows,
        limit,
        _VERSIONS,
        lambda row: VersionOut(**view.fields(row), active=row.version_digest == active),
        view.positions(chain_id),
    )


@router.get("/mirrors", summary="Assets on chains that are not their home")
async def mirrors(
    view: View,
    asset_id: HashFilter = None,
    chain_id: ChainFilter = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Listing[MirrorOut]:
    where: dict[str, Value | None] = {"asset_id": asset_id, "chain_id": chain_id}
    after = place_from(cursor, _MIRRORS)
    rows = await page(view.session, AssetMirror, where=where, order=[*_MIRRORS], after=after, limit=limit + 1)
    return listing(
        rows,
        limit,
        _MIRRORS,
        lambda row: MirrorOut(**view.fields(row), open=row.is_open(view.time(row.chain_id))),
        view.positions(chain_id),
    )


@router.get("/plans", summary="Plans, oldest first")
async def plans(
    view: View,
    asset_id: HashFilter = None,
    server: AddressFilter = None,
    open: bool | None = None,  # noqa: A002 - the name of the query parameter
    chain_id: ChainFilter = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Listing[PlanOut]:
    where: dict[str, Value | None] = {
        "asset_id": asset_id,
        "server": server,
        "open": open,
        "chain_id": chain_id,
    }
    after = place_from(cursor, _PLANS)
    rows = await page(view.session, Plan, where=where, order=[*_PLANS], after=after, limit=limit + 1)
    return listing(rows, limit, _PLANS, lambda row: PlanOut(**view.fields(row)), view.positions(chain_id))


@router.get("/plans/{chain_id}/{plan_id}", summary="A plan")
async def plan(view: View, chain_id: ChainPath, plan_id: IdPath) -> PlanAnswer:
    where = {"chain_id": chain_id, "plan_id": int(plan_id)}
    rows = await page(view.session, Plan, where=where, order=[*_PLANS], after=None, limit=1)
    if not rows:
        raise not_found(f"plan {plan_id} on chain {chain_id}")
    return PlanAnswer(**view.fields(rows[0]), position=view.position(chain_id))


@router.get("/credits", summary="Series of credits, by their tokens")
async def series(
    view: View,
    asset_id: HashFilter = None,
    token: AddressFilter = None,
    chain_id: ChainFilter = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Listing[SeriesOut]:
    where = {"asset_id": asset_id, "token": token, "chain_id": chain_id}
    after = place_from(cursor, _SERIES)
    rows = await page(view.session, Series, where=where, order=[*_SERIES], after=after, limit=limit + 1)
    return listing(rows, limit, _SERIES, lambda row: SeriesOut(**view.fields(row)), view.positions(chain_id))


async def _assets(view: Snapshot, asset_id: str) -> list[Asset]:
    # An asset id hashes its home chain, so at most one chain has it.
    return await page(
        view.session, Asset, where={"asset_id": asset_id}, order=[*_ASSETS], after=None, limit=1
    )


def _asset(view: Snapshot, rows: list[Asset], what: str) -> AssetAnswer:
    if not rows:
        raise not_found(what)
    return AssetAnswer(**view.fields(rows[0]), position=view.position(rows[0].chain_id))
