"""The bytes of the log: batches of entries, each batch behind its length and checksum.

A batch is one write(2). `<u32 length><u32 crc32>` then entries; an entry starts with its kind:
LEASE  u32 ref · u64 last sequence, logged · u32 n · n bytes of JSON   what records repeat, once a lease and segment
OPEN   u32 ref · u64 sequence · u64 started                       before the first byte of the call reaches Triton
PROGRESS  u32 ref · u64 sequence · u64 units, in all so far          while an answer is streamed
CLOSE  u32 ref · u64 sequence · u8 outcome · u8 last · u64 units, started, ended, bytes in, bytes out · 2 of 32 bytes
Times are Unix nanoseconds. Integers are little-endian.
"""

from __future__ import annotations

import dataclasses
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from licet_gateway.domain import CallRecord, LeaseTerms, Limits, Outcome

_BATCH: Final = struct.Struct("<II")
_LEASE: Final = struct.Struct("<BIQQI")
_OPEN: Final = struct.Struct("<BIQQ")
_PROGRESS: Final = struct.Struct("<BIQQ")
_CLOSE: Final = struct.Struct("<BIQBBQQQQQ32s32s")
_KIND_LEASE: Final = 1
_KIND_OPEN: Final = 2
_KIND_CLOSE: Final = 3
_KIND_PROGRESS: Final = 4
_KINDS: Final = frozenset({_KIND_LEASE, _KIND_OPEN, _KIND_CLOSE, _KIND_PROGRESS})

# A longer batch is not ours: what is read is not the log.
BATCH_MAX: Final = 64 * 1024 * 1024


class LogCorrupt(Exception):
    """A batch whose checksum holds does not read as entries: not a torn write, but another format or a bug."""


@dataclass(frozen=True, slots=True)
class LeaseEntry:
    ref: int
    last_sequence: int
    terms: LeaseTerms
    logged_ns: int


@dataclass(slots=True)
class OpenEntry:
    ref: int
    sequence: int
    started_ns: int


@dataclass(slots=True)
class ProgressEntry:
    ref: int
    sequence: int
    units: int


@dataclass(slots=True)
class CloseEntry:
    ref: int
    record: CallRecord


Entry = LeaseEntry | OpenEntry | ProgressEntry | CloseEntry


def lease_entry(ref: int, last_sequence: int, terms: LeaseTerms, logged_ns: int) -> bytes:
    text = json.dumps(dataclasses.asdict(terms)).encode()
    return _LEASE.pack(_KIND_LEASE, ref, last_sequence, logged_ns, len(text)) + text


def open_entry(ref: int, sequence: int, started_ns: int) -> bytes:
    return _OPEN.pack(_KIND_OPEN, ref, sequence, started_ns)


def progress_entry(ref: int, sequence: int, units: int) -> bytes:
    return _PROGRESS.pack(_KIND_PROGRESS, ref, sequence, units)


def close_entry(ref: int, record: CallRecord) -> bytes:
    return _CLOSE.pack(
        _KIND_CLOSE,
        ref,
        record.sequence,
        record.outcome,
        record.last,
        record.units,
        record.started_ns,
        record.ended_ns,
        record.bytes_in,
        record.bytes_out,
        record.request_commitment,
        record.response_commitment,
    )


def batch(entries: list[bytes]) -> bytes:
    """One write's worth: the entries behind their length and checksum."""
    body = b"".join(entries)
    return _BATCH.pack(len(body), zlib.crc32(body)) + body


def next_batch(data: bytes, at: int) -> tuple[bytes, int] | None:
    """The whole batch at `at` and the offset behind it; None where it is torn, still being written, or not there."""
    if at + _BATCH.size > len(data):
        return None
    size, checksum = _BATCH.unpack_from(data, at)
    start = at + _BATCH.size
    # None is written empty: zeros, which a power cut leaves behind, would be read as such.
    if not 0 < size <= BATCH_MAX or start + size > len(data):
        return None
    body = data[start : start + size]
    return None if zlib.crc32(body) != checksum else (body, start + size)


def find_batch(data: bytes, at: int) -> int | None:
    """Where the first whole batch begins, from `at` on: behind damage the log goes on there."""
    for start in range(at, len(data) - _BATCH.size):
        # The kind is looked at first, because a checksum over whatever a length happens to say is dear.
        if data[start + _BATCH.size] in _KINDS and next_batch(data, start) is not None:
            return start
    return None


def read_entries(body: bytes) -> Iterator[Entry]:
    """The entries of one batch. Raises LogCorrupt."""
    at = 0
    try:
        while at < len(body):
            match body[at]:
                case 1:
                    _, ref, last_sequence, logged, size = _LEASE.unpack_from(body, at)
                    at += _LEASE.size
                    yield LeaseEntry(ref, last_sequence, _terms(body[at : at + size]), logged)
                    at += size
                case 2:
                    _, ref, sequence, started = _OPEN.unpack_from(body, at)
                    yield OpenEntry(ref, sequence, started)
                    at += _OPEN.size
                case 3:
                    _, ref, sequence, outcome, last, *rest = _CLOSE.unpack_from(body, at)
                    units, *others = rest
                    yield CloseEntry(ref, CallRecord(sequence, units, Outcome(outcome), bool(last), *others))
                    at += _CLOSE.size
                case 4:
                    _, ref, sequence, units = _PROGRESS.unpack_from(body, at)
                    yield ProgressEntry(ref, sequence, units)
                    at += _PROGRESS.size
                case kind:
                    raise LogCorrupt(f"unknown kind of entry: {kind}")
    except (struct.error, ValueError, TypeError, KeyError) as error:
        raise LogCorrupt(str(error)) from error


def _terms(text: bytes) -> LeaseTerms:
    fields = json.loads(text)
    fields["limits"] = Limits(**fields["limits"])
    fields["requires"] = tuple((grant_id, generation) for grant_id, generation in fields["requires"])
    return LeaseTerms(**fields)
