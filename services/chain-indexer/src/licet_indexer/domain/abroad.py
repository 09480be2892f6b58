"""Assets that are sold on a chain that is not their home: what their MirrorBook says, and the row that it makes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from licet_indexer.domain import rows as r
from licet_indexer.domain.chain import Site


@dataclass(frozen=True, slots=True)
class MirrorBound:
    """What an asset's owner at home let happen on this chain; `valid_until` 0: it was ended."""

    asset_id: str
    owner: str
    home_owner: str
    epoch: int
    valid_until: int
    home_chain_id: int
    home_registry: str
    slug: str


@dataclass(frozen=True, slots=True)
class OwnerReported:
    """Who owns the asset at home, in which epoch."""

    asset_id: str
    owner: str
    epoch: int
    lineage: str


def fold_abroad(payload: MirrorBound | OwnerReported, at: Site, rows: r.Rows) -> None:
    """Both halves of a mirror are one row; either may come first."""
    known = rows.get(r.AssetMirror, at.chain_id, payload.asset_id)
    mirror = known or r.AssetMirror(
        chain_id=at.chain_id, changed_block=at.block_number, asset_id=payload.asset_id
    )
    if isinstance(payload, MirrorBound):
        mirror = replace(
            mirror,
            owner=payload.owner,
            home_owner=payload.home_owner,
            epoch=payload.epoch,
            valid_until=payload.valid_until,
            home_chain_id=payload.home_chain_id,
            home_registry=payload.home_registry,
            slug=payload.slug,
        )
    else:
        mirror = replace(
            mirror,
            reported_owner=payload.owner,
            reported_epoch=payload.epoch,
            reported_at=at.block_time,
            lineage=payload.lineage,
        )
    rows.put(replace(mirror, changed_block=at.block_number))
