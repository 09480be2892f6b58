"""A message as it came (`Raw`) and as a handler sees it (`Message`), and the decoders between them."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from aiokafka import ConsumerRecord
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtobufMessage

from licet_kit.errors import PermanentError

T = TypeVar("T")
M = TypeVar("M", bound=ProtobufMessage)


_MAX_ID_CHARS = 300


class Undecodable(PermanentError):
    """Bytes that are not the message that the topic promises."""

    code = "undecodable"


@dataclass(frozen=True, slots=True)
class Raw:
    """One record: bytes as they came. `topic` is without the installation's prefix."""

    topic: str
    key: str
    event_id: str
    payload: bytes
    headers: Mapping[str, str]
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class Message(Generic[T]):
    """One event for a handler. `timestamp` is the record's, set by its producer."""

    topic: str
    key: str
    event_id: str
    value: T
    headers: Mapping[str, str]
    timestamp: datetime


Decoder = Callable[[Raw], T]


def protobuf(first: type[M], *others: type[M]) -> Decoder[M]:
    """Decode by the `ce_type` header, among these types; a record without that header is of the only type.

    Raises Undecodable, for unknown types too: an event that is not understood must not be passed over.
    """
    types = {kind.DESCRIPTOR.full_name: kind for kind in (first, *others)}
    sole = first.DESCRIPTOR.full_name if not others else ""

    def decode(raw: Raw) -> M:
        name = raw.headers.get("ce_type", sole)
        kind = types.get(name)
        if kind is None:
            raise Undecodable(f"{raw.event_id} on {raw.topic} is a {name or 'message without ce_type'}")
        try:
            return kind.FromString(raw.payload)
        except DecodeError as error:
            raise Undecodable(f"{raw.event_id} on {raw.topic} is not a {name}") from error

    return decode


def raw_of(record: "ConsumerRecord[bytes, bytes]", prefix: str) -> Raw:
    """Read a record. One without a CloudEvents id is named by its place, which is as unique."""
    headers = text_headers(record.headers)
    return Raw(
        topic=record.topic.removeprefix(prefix),
        key=_bounded(_text(record.key or b"")),
        event_id=_bounded(headers.get("ce_id") or "") or f"{record.topic}:{record.partition}:{record.offset}",
        payload=record.value or b"",
        headers=headers,
        timestamp=datetime.fromtimestamp(record.timestamp / 1000, UTC),
    )


def message_of(raw: Raw, decode: Decoder[T]) -> Message[T]:
    """Decode a record; raises what the decoder raises."""
    return Message(raw.topic, raw.key, raw.event_id, decode(raw), raw.headers, raw.timestamp)


def text_headers(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """Read record headers as text that Postgres can hold: not even a foreign header may stop a record."""
    return {name.replace("\0", ""): _text(value or b"") for name, value in headers}


def byte_headers(headers: Mapping[str, str]) -> list[tuple[str, bytes]]:
    """Write headers as Kafka has them."""
    return [(name, value.encode()) for name, value in headers.items()]


def _bounded(text: str) -> str:
    """Return the text, or a shorter one as unique: our indexes refuse long values, and none of ours is long."""
    if len(text) <= _MAX_ID_CHARS:
        return text
    return f"{text[:_MAX_ID_CHARS]}:{hashlib.sha256(text.encode()).hexdigest()}"


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
