"""Domain event ↔ protobuf and JSON; makes the outbox's messages.

Both forms have the fields of `licet.chain.v1`: where the field is a string, a number becomes decimal text.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import typing
from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from licet_kit.outbox import Outgoing
from licet_schemas.licet.chain.v1 import chain_pb2

from licet_indexer.domain import payloads as p
from licet_indexer.domain.chain import BlockRef, ChainId, Kind, Site, finality_id
from licet_indexer.domain.settled import SettledLine

_TYPES: dict[str, type[Any]] = {kind.__name__: kind for kind in typing.get_args(p.Payload)}
_KINDS = {
    Kind.OBSERVED: chain_pb2.EVENT_KIND_OBSERVED,
    Kind.RETRACTED: chain_pb2.EVENT_KIND_RETRACTED,
}
# (attribute of the dataclass, name in protobuf and JSON, whether its number travels as text, its type)
_FieldPlan = tuple[tuple[str, str, bool, Any], ...]


def _text_fields(message: Descriptor) -> set[str]:
    return {field.name for field in message.fields if field.type == FieldDescriptor.TYPE_STRING}


def _plan(kind: type[Any]) -> _FieldPlan:
    text = _text_fields(chain_pb2.DESCRIPTOR.message_types_by_name[kind.__name__])
    hints = typing.get_type_hints(kind)
    return tuple(
        (f.name, f.name.rstrip("_"), f.name.rstrip("_") in text and hints[f.name] is int, hints[f.name])
        for f in dataclasses.fields(kind)
    )


# Dataclasses inside of payloads.
_PARTS = (p.PlanTerms, SettledLine)
_PLANS: dict[type[Any], _FieldPlan] = {kind: _plan(kind) for kind in (*_TYPES.values(), *_PARTS)}


@functools.cache
def _oneof(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def to_json(payload: p.Payload | p.PlanTerms | SettledLine) -> dict[str, Any]:
    """The payload as plain JSON, in the names of the protobuf message."""
    values: dict[str, Any] = {}
    for attribute, name, as_text, _ in _PLANS[type(payload)]:
        value = getattr(payload, attribute)
        if as_text:
            value = str(value)
        elif isinstance(value, _PARTS):
            value = to_json(value)
        elif isinstance(value, tuple):
            value = [to_json(part) if isinstance(part, _PARTS) else part for part in value]
        values[name] = value
    return values


def from_json(name: str, values: Mapping[str, Any]) -> p.Payload:
    """The payload that `to_json` made this of. `name` is the payload type's."""
    payload: p.Payload = _from_json(_TYPES[name], values)
    return payload


def _from_json(kind: type[Any], values: Mapping[str, Any]) -> Any:
    given = {}
    for attribute, name, as_text, hint in _PLANS[kind]:
        value = values[name]
        if as_text:
            value = int(value)
        elif hint in _PARTS:
            value = _from_json(hint, value)
        elif isinstance(value, list):
            part = typing.get_args(hint)[0]
            value = tuple(_from_json(part, each) if part in _PARTS else each for each in value)
        given[attribute] = value
    return kind(**given)


def chain_event(site: Site, kind: Kind, payload: p.Payload) -> chain_pb2.ChainEvent:
    """The message of one truth about a log."""
    # The field of the oneof that is named after the payload; its type is known at run time only.
    body: dict[str, Any] = {_oneof(type(payload).__name__): to_json(payload)}
    return chain_pb2.ChainEvent(
        event_id=site.event_id(kind),
        chain_id=site.chain_id,
        block_number=site.block_number,
        block_hash=site.block_hash,
        block_time=site.block_time,
        tx_hash=site.tx_hash,
        log_index=site.log_index,
        contract=site.contract,
        kind=_KINDS[kind],
        incarnation=site.incarnation,
        **body,
    )


def outgoing(site: Site, kind: Kind, payload: p.Payload) -> Outgoing:
    """The outbox entry of one truth about a log."""
    message = chain_event(site, kind, payload)
    return Outgoing(message=message, key=p.key_of(payload), event_id=message.event_id)


def finality(chain_id: ChainId, final: BlockRef) -> Outgoing:
    """The outbox entry that says that a block and all before it are final."""
    message = chain_pb2.BlockFinality(
        event_id=finality_id(chain_id, final.hash),
        chain_id=chain_id,
        block_number=final.number,
        block_hash=final.hash,
        block_time=final.time,
    )
    return Outgoing(message=message, key=str(chain_id), event_id=message.event_id)
