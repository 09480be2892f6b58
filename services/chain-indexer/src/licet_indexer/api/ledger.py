"""Routes of the chains themselves: how far their mirrors are, and the events in chain order."""

from __future__ import annotations

from fastapi import APIRouter
from licet_kit.cursor import encode
from licet_kit.problems import Problem

from licet_indexer.api.edge import (
    DEFAULT_LIMIT,
    ChainFilter,
    Cursor,
    HashFilter,
    Limit,
    Part,
    Snapshot,
    View,
    place_from,
)
from licet_indexer.api.models import BlockOut, ChainOut, EventOut, Listing
from licet_indexer.db.blocks import StoredEvent
from licet_indexer.db.chains import ChainStatus
from licet_indexer.db.reads import events as read_events
from licet_indexer.domain.chain import BlockRef, Kind

router = APIRouter(prefix="/v1", tags=["chains"])

_EVENTS = {"chain_id": Part.BIG, "block_number": Part.BIG, "log_index": Part.LOG}


@router.get("/chains", summary="Chains, and how far their mirrors are")
async def chains(view: View) -> Listing[ChainOut]:
    data = [_chain(status) for status in view.chains.values()]
    return Listing(data=data, has_more=False, next_cursor=None, positions=view.positions())


@router.get("/events", summary="Events of canonical blocks in chain order")
async def events(
    view: View,
    asset_id: HashFilter = None,
    chain_id: ChainFilter = None,
    after: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Listing[EventOut]:
    """`next_cursor` is given on the last page too: the place from which a later call goes on.

    A reorg may put new events before it. Who must see those reads the topic chain.event.
    """
    if asset_id is None and chain_id is None:
        raise Problem(
            422, "filter_missing", "give asset_id or chain_id: chain order is an order within a chain"
        )
    place = place_from(after, _EVENTS)
    start = (int(place[0]), int(place[1]), int(place[2])) if place else None
    found = await read_events(
        view.session, chain_id=chain_id, asset_id=asset_id, after=start, limit=limit + 1
    )
    shown = found[:limit]
    return Listing(
        data=[_event(view, event) for event in shown],
        has_more=len(found) > limit,
        next_cursor=_after(shown[-1]) if shown else after,
        positions=view.positions(chain_id),
    )


def _after(event: StoredEvent) -> str:
    site = event.site
    return encode({"chain_id": site.chain_id, "block_number": site.block_number, "log_index": site.log_index})


def _block(ref: BlockRef | None) -> BlockOut | None:
    return BlockOut(block_number=ref.number, block_hash=ref.hash, block_time=ref.time) if ref else None


def _chain(status: ChainStatus) -> ChainOut:
    cursor = status.cursor
    head = cursor.tip.number if cursor.tip else -1
    return ChainOut(
        chain_id=cursor.chain_id,
        name=status.name,
        state=status.state.value,
        halt_reason=status.halt_reason,
        head=_block(cursor.tip),
        final=_block(cursor.final),
        node_head=status.node_head,
        lag=max(0, (status.node_head if status.node_head is not None else head) - head),
        heard_at=status.heard_at.isoformat() if status.heard_at else None,
    )


def _event(view: Snapshot, event: StoredEvent) -> EventOut:
    site = event.site
    return EventOut(
        event_id=site.event_id(Kind.OBSERVED),
        chain_id=site.chain_id,
        block_number=site.block_number,
        block_hash=site.block_hash,
        block_time=site.block_time,
        tx_hash=site.tx_hash,
        log_index=site.log_index,
        contract=site.contract,
        name=event.name,
        payload=dict(event.payload),
        is_final=view.is_final(site.chain_id, site.block_number),
    )
