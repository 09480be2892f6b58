"""Between the vault's own types and protobuf; writes outbox rows."""

from __future__ import annotations

from collections.abc import Sequence

from licet_kit.ids import new_id
from licet_kit.outbox import Outgoing
from licet_schemas.licet.chain.v1 import chain_pb2
from licet_schemas.licet.vault.v1 import vault_pb2
from sqlalchemy.ext.asyncio import AsyncSession

from licet_vault.db import OUTBOX
from licet_vault.domain import AssetFact, FactKind, Position, Truth, VersionState


async def announce(session: AsyncSession, states: Sequence[VersionState]) -> None:
    """Tells of states, whether they have just changed or not; consumers keep the highest number."""
    await OUTBOX.enqueue_many(
        session, [Outgoing(message=_encoded(s), key=s.asset_id, event_id=new_id()) for s in states]
    )


def asset_fact(event: chain_pb2.ChainEvent) -> AssetFact | None:
    """What a chain event says about an asset's versions or owner; None for all other events."""
    position = Position(event.chain_id, event.block_number, event.block_hash, event.log_index)
    truth = Truth(event.incarnation, retracted=event.kind == chain_pb2.EVENT_KIND_RETRACTED)
    match event.WhichOneof("payload"):
        case "asset_registered":
            made = event.asset_registered
            return AssetFact(
                made.asset_id, FactKind.REGISTERED, position, truth, owner=made.owner.lower(), slug=made.slug
            )
        case "asset_transferred":
            moved = event.asset_transferred
            return AssetFact(moved.asset_id, FactKind.TRANSFERRED, position, truth, owner=moved.to.lower())
        case "version_published":
            new = event.version_published
            return AssetFact(
                new.asset_id, FactKind.PUBLISHED, position, truth, digest=new.version_digest, uri=new.uri
            )
        case "version_activated":
            chosen = event.version_activated
            return AssetFact(
                chosen.asset_id, FactKind.ACTIVATED, position, truth, digest=chosen.version_digest
            )
        case _:
            return None


def _encoded(state: VersionState) -> vault_pb2.VersionStateChanged:
    return vault_pb2.VersionStateChanged(
        asset_id=state.asset_id,
        slug=state.slug,
        version_digest=state.digest,
        triton_model=state.triton_model,
        state=state.state.value,
        reason=state.reason,
        triton_url=state.triton_url,
        metering_rule=state.metering_rule,
        version=state.number,
        schema_json=state.schema_json,
    )
