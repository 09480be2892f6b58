"""Reads a worker's log as it grows, and what a dead worker left open.

The reader's place is kept in a small file beside the log, moved only after Kafka has acknowledged everything before it.
What is sent twice after a crash is harmless: the request id is the event id.

Bytes that do not read and have log behind them are damage: they are kept aside, and reading goes on behind them. What
they said is not guessed: a call that may have ended there gets no record, and a lease that may have gone on there gets
no end, so that the gap shows. At the end of the last segment such bytes are a write that was cut off, or is under way.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from licet_kit.logs import get_logger

from licet_gateway.dataplane import entries
from licet_gateway.dataplane.entries import CloseEntry, Entry, LeaseEntry, OpenEntry, ProgressEntry
from licet_gateway.dataplane.log import segment_numbers, segment_path
from licet_gateway.domain import CallRecord, LeaseTerms, Outcome
from licet_gateway.shipping import aside
from licet_gateway.shipping.folders import UNFINISHED

log = get_logger(__name__)

# Bytes of log that make one batch of records at most (about 150 bytes a call).
READ_MAX: Final = 128 * 1024
_PLACE: Final = "shipped"


@dataclass(slots=True)
class Finished:
    """A record with the lease that it belongs to."""

    terms: LeaseTerms
    record: CallRecord


@dataclass(slots=True)
class _Track:
    """What is known of one lease."""

    terms: LeaseTerms
    last_sequence: int
    # The latest time that an entry of the lease names; what is recovered is dated by it.
    latest_ns: int
    running: dict[int, int] = field(default_factory=dict)
    # Units that running calls have told, by sequence.
    progress: dict[int, int] = field(default_factory=dict)
    # Whether damage may hide a higher sequence than the last known one.
    unsure: bool = False


class LogReader:
    """One worker's log. `read` gives finished records in log order; `confirm` says that they are shipped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tracks: dict[int, _Track] = {}
        self._segment, self._skip = _saved_place(folder)
        self._offset = 0
        self._confirmed = (self._segment, self._skip)
        # Ends of calls whose lease is named in what is lost, until they are kept aside.
        self._unnamed: list[CloseEntry] = []

    @property
    def unshipped_bytes(self) -> int:
        """Log that Kafka has not acknowledged."""
        numbers = [number for number in segment_numbers(self.folder) if number >= self._segment]
        return sum(segment_path(self.folder, number).stat().st_size for number in numbers) - self._offset

    def read(self) -> list[Finished]:
        """The next finished records; empty where the log has no more for now."""
        found: list[Finished] = []
        while not found:
            # Looked for before reading: a segment is complete once the next one exists.
            numbers = segment_numbers(self.folder)
            data = self._read_on()
            if data:
                found = self._follow(data)
                continue
            later = [number for number in numbers if number > self._segment]
            if self._pass_damage(complete=bool(later)):
                continue
            if not later or self._is_only_copy(later):
                break
            self._segment, self._offset, self._skip = later[0], 0, 0
        return found

    def _is_only_copy(self, later: list[int]) -> bool:
        """Whether leases live that the next segment does not repeat yet."""
        return bool(self._tracks) and len(later) == 1 and not _begun(segment_path(self.folder, later[0]))

    def recover(self) -> list[Finished]:
        """What the dead worker owed: calls without an end cost what they had told, and every lease ends."""
        found = []
        for track in self._tracks.values():
            for sequence, started in sorted(track.running.items()):
                units = track.progress.get(sequence, 0)
                record = CallRecord(sequence, units, Outcome.ABORTED, False, started, track.latest_ns)
                found.append(Finished(track.terms, record))
            track.running.clear()
            track.progress.clear()
            if track.unsure:
                log.error("usage_log.lease_left_open", lease_id=track.terms.lease_id)
                continue
            at = track.latest_ns
            marker = CallRecord(track.last_sequence + 1, 0, Outcome.ABORTED, True, at, at)
            found.append(Finished(track.terms, marker))
        return found

    def confirm(self) -> None:
        """Everything read so far is in Kafka: keeps the place, and deletes what lies before it."""
        # Not where it is read, or what is read again after a failure would be kept again.
        self._keep_unnamed()
        # A reader that has just begun stands behind the place that its predecessor kept.
        place = max((self._segment, self._offset), self._confirmed)
        if place == self._confirmed:
            return
        # First, because a full disk is freed by it: a place in a segment that is gone means the next one.
        for number in segment_numbers(self.folder):
            if number < self._segment:
                segment_path(self.folder, number).unlink()
        temporary = self.folder / f"{_PLACE}.new"
        try:
            temporary.write_text(json.dumps({"segment": place[0], "offset": place[1]}))
            temporary.replace(self.folder / _PLACE)
        except OSError as error:
            # The place is also in memory; only a restart would send again what was sent.
            log.warning("usage_log.place_not_kept", error=str(error))
            return
        self._confirmed = place

    def remove(self) -> None:
        """The log of a dead worker, all shipped, is of no more use."""
        self._keep_unnamed()
        # Under a name that is passed over and cleaned up: half removed, it would be no worker's folder any more.
        leaving = self.folder.with_name(f"{UNFINISHED}{self.folder.name}")
        self.folder.rename(leaving)
        shutil.rmtree(leaving)

    def _read_on(self) -> bytes:
        """Whole batches from the current place, at least one if there is one; moves the place behind them."""
        data = self._bytes(READ_MAX)
        end = _whole_batches(data)
        if not end and len(data) == READ_MAX:
            data = self._bytes(entries.BATCH_MAX)
            end = _whole_batches(data)
        self._offset += end
        return data[:end]

    def _bytes(self, size: int) -> bytes:
        try:
            fd = os.open(segment_path(self.folder, self._segment), os.O_RDONLY)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(fd, size, self._offset)
        finally:
            os.close(fd)

    def _pass_damage(self, *, complete: bool) -> bool:
        """Moves the place behind bytes that do not read, if there is log behind them or the segment is `complete`."""
        data = self._bytes(entries.BATCH_MAX)
        end = entries.find_batch(data, 0)
        if end is None:
            end = len(data) if complete else 0
            if not end:
                return False
        # Nothing lies between where a batch was written a moment ago.
        if end:
            self._set_aside(self._offset, data[:end])
        self._offset += end
        return True

    def _set_aside(self, offset: int, data: bytes) -> None:
        if aside.keep_damaged(self.folder, self._segment, offset, data):
            log.error(
                "usage_log.damaged",
                worker_id=self.folder.name,
                segment=self._segment,
                offset=offset,
                bytes=len(data),
            )
        for track in self._tracks.values():
            # Each of them may have ended in what is lost; the next segment repeats those that did not.
            track.running.clear()
            track.progress.clear()
            track.unsure = True

    def _follow(self, data: bytes) -> list[Finished]:
        found: list[Finished] = []
        at = 0
        start = self._offset - len(data)
        while (batch := entries.next_batch(data, at)) is not None:
            body, behind = batch
            # What was shipped before a restart is read once more for the leases that it names.
            shipped = start + behind <= self._skip
            finished, of_nobody = self._apply(self._entries(start + at, body))
            if not shipped:
                found += finished
                self._unnamed += of_nobody
            at = behind
        return found

    def _keep_unnamed(self) -> None:
        if self._unnamed:
            log.error("usage_log.leases_unnamed", worker_id=self.folder.name, records=len(self._unnamed))
            aside.keep_unnamed(self.folder, self._unnamed)
            self._unnamed.clear()

    def _entries(self, offset: int, body: bytes) -> list[Entry]:
        try:
            return list(entries.read_entries(body))
        except entries.LogCorrupt:
            self._set_aside(offset, body)
            return []

    def _apply(self, batch: Iterable[Entry]) -> tuple[list[Finished], list[CloseEntry]]:
        """The records of a batch, and the ends of calls whose lease was named in what is lost."""
        found, unnamed = [], []
        for entry in batch:
            match entry:
                case LeaseEntry(ref, last_sequence, terms, logged_ns):
                    # A new segment repeats the leases that live on.
                    track = self._tracks.setdefault(ref, _Track(terms, last_sequence, logged_ns))
                    track.last_sequence = max(track.last_sequence, last_sequence)
                    track.unsure = False
                case OpenEntry(ref, sequence, started_ns):
                    self._open(ref, sequence, started_ns)
                case ProgressEntry(ref, sequence, units):
                    self._tell(ref, sequence, units)
                case CloseEntry(ref, record) if ref in self._tracks:
                    found.append(Finished(self._tracks[ref].terms, record))
                    self._close(ref, record)
                case CloseEntry():
                    unnamed.append(entry)
        return found, unnamed

    def _open(self, ref: int, sequence: int, started_ns: int) -> None:
        track = self._tracks.get(ref)
        if track is None:
            return
        track.running[sequence] = started_ns
        track.last_sequence = max(track.last_sequence, sequence)
        track.latest_ns = max(track.latest_ns, started_ns)
        # Calls are opened in the order of their sequences: none that is hidden has a higher one.
        track.unsure = False

    def _tell(self, ref: int, sequence: int, units: int) -> None:
        track = self._tracks.get(ref)
        # A call whose beginning is lost in damage may have ended there too.
        if track is not None and sequence in track.running:
            track.progress[sequence] = units

    def _close(self, ref: int, record: CallRecord) -> None:
        track = self._tracks[ref]
        track.running.pop(record.sequence, None)
        track.progress.pop(record.sequence, None)
        track.last_sequence = max(track.last_sequence, record.sequence)
        track.latest_ns = max(track.latest_ns, record.ended_ns)
        if record.last:
            del self._tracks[ref]


def _whole_batches(data: bytes) -> int:
    """Length of the whole batches at the beginning of `data`."""
    at = 0
    while (batch := entries.next_batch(data, at)) is not None:
        at = batch[1]
    return at


def _begun(segment: Path) -> bool:
    """Whether a batch of a segment is whole."""
    with segment.open("rb") as file:
        return entries.find_batch(file.read(entries.BATCH_MAX), 0) is not None


def _saved_place(folder: Path) -> tuple[int, int]:
    """Segment, and the offset in it up to which everything is shipped."""
    try:
        saved = json.loads((folder / _PLACE).read_text())
    except FileNotFoundError:
        return 1, 0
    return int(saved["segment"]), int(saved["offset"])
