"""Payloads, their protobuf and their JSON are one thing in three spellings."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from licet_indexer.domain import payloads as p
from licet_indexer.domain import settled as s
from licet_indexer.domain.chain import ChainId, Kind, Site
from licet_indexer.events import chain_event, from_json, to_json
from licet_schemas.licet.chain.v1 import chain_pb2

TYPES = typing.get_args(p.Payload)
SITE = Site(ChainId(31337), 7, "0x" + "11" * 32, 1700000000, "0x" + "22" * 32, 3, "0x" + "33" * 20, 2)


def values_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(kind)
    message = chain_pb2.DESCRIPTOR.message_types_by_name[kind.__name__]
    fields = {}
    for field in dataclasses.fields(kind):
        described = message.fields_by_name[field.name.rstrip("_")]
        if hints[field.name] is p.PlanTerms:
            fields[field.name] = values_of(p.PlanTerms)
        elif hints[field.name] == tuple[s.SettledLine, ...]:
            fields[field.name] = st.lists(values_of(s.SettledLine), max_size=3).map(tuple)
        elif hints[field.name] is str:
            fields[field.name] = st.text(max_size=20)
        elif hints[field.name] == tuple[str, ...]:
            fields[field.name] = st.lists(st.text(max_size=20), max_size=3).map(tuple)
        elif hints[field.name] is bool:
            fields[field.name] = st.booleans()
        else:
            limit = {"TYPE_STRING": 2**256, "TYPE_UINT32": 2**32, "TYPE_UINT64": 2**64, "TYPE_INT64": 2**63}
            name = next(n for n in limit if getattr(described, n) == described.type)
            fields[field.name] = st.integers(0, limit[name] - 1)
    return st.builds(kind, **fields)


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: str(kind.__name__))
@settings(max_examples=40)
@given(data=st.data())
def test_payload_survives_json_and_equals_its_protobuf(kind: type[Any], data: st.DataObject) -> None:
    payload = data.draw(values_of(kind))
    plain = to_json(payload)
    assert from_json(kind.__name__, plain) == payload
    event = chain_event(SITE, Kind.RETRACTED, payload)
    name = event.WhichOneof("payload")
    assert name is not None
    message = getattr(event, name)
    assert type(message).__name__ == kind.__name__
    shown = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    assert _as_text(shown) == _as_text(plain)


def _as_text(value: Any) -> Any:
    """JSON of protobuf writes 64-bit numbers as text, ours as numbers: the same digits."""
    if isinstance(value, dict):
        return {name: _as_text(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_as_text(part) for part in value]
    return value if isinstance(value, bool) else str(value)


def test_every_payload_of_the_interface_has_its_type_here() -> None:
    oneof = chain_pb2.ChainEvent.DESCRIPTOR.oneofs_by_name["payload"]
    names = {field.message_type.name for field in oneof.fields if field.message_type}
    assert names == {kind.__name__ for kind in TYPES}


def test_event_id_tells_kinds_and_incarnations_apart() -> None:
    block = "0x" + "11" * 32
    assert SITE.event_id(Kind.OBSERVED) == f"31337:{block}:3:observed:2"
    assert SITE.event_id(Kind.RETRACTED) == f"31337:{block}:3:retracted:2"


HASH, PAYER, OPERATOR, TOKEN = "0xa5", "0xpa", "0x0b", "0x7c"


@pytest.mark.parametrize(
    ("payload", "key"),
    [
        (p.VersionActivated(HASH, "0xd1"), HASH),
        (p.PlanClosed(1, HASH), HASH),
        (p.Deposited("0xde", PAYER, OPERATOR, TOKEN, 1, 1, 1), f"{PAYER}:{OPERATOR}"),
        (p.Withdrawn(1, "0xde", PAYER, OPERATOR, TOKEN, 1), f"{PAYER}:{OPERATOR}"),
        (p.Claimed(PAYER, TOKEN, 1), f"{PAYER}:{TOKEN}"),
        (s.BatchSettled(OPERATOR, 1, "0xee", "", 1, 1, 1), OPERATOR),
        (p.OperatorKeySet(OPERATOR, "0xff", 1, 2), OPERATOR),
        (p.MandateRevoked("0x4d", PAYER, OPERATOR, TOKEN, 1, 2, 3), f"{PAYER}:{OPERATOR}"),
        (s.HoldReleased(OPERATOR, 1, HASH, TOKEN, 1), OPERATOR),
        (s.DirectDrawsSet("0xde", PAYER, OPERATOR, TOKEN, 1), f"{PAYER}:{OPERATOR}"),
    ],
)
def test_key_is_what_must_stay_in_order(payload: p.Payload, key: str) -> None:
    assert p.key_of(payload) == key
