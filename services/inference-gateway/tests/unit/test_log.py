"""The log and its reader: what was written is read once, in order, whatever was cut, turned over or restarted."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from licet_gateway.dataplane import entries
from licet_gateway.dataplane import log as log_module
from licet_gateway.dataplane.lease import Lease
from licet_gateway.dataplane.log import Log, segment_numbers, segment_path
from licet_gateway.dataplane.pool import Pool
from licet_gateway.dataplane.share import Share
from licet_gateway.domain import CallRecord, Credential, Limits, Outcome
from licet_gateway.shipping.folders import FolderInUse, WorkerFolder, hold, is_abandoned, worker_folders
from licet_gateway.shipping.reader import Finished, LogReader
from licet_gateway.testing import lease_desk

TERMS = replace(
    lease_desk.TERMS, limits=Limits(1, 2, 3, units_per_s=4), requires=(("31337:0xescrow:2:0", 4),)
)


def lease(number: int) -> Lease:
    pool = Pool(Credential(api_key_hash=bytes(32)), TERMS.slug, 0)
    return Lease(replace(TERMS, lease_id=f"{number:032x}"), pool, Share(0), ref=number, asked_ns=0)


def record(sequence: int, *, units: int = 1, last: bool = False) -> CallRecord:
    return CallRecord(sequence, units, Outcome.OK, last, 100, 200, 3, 4, b"q" * 32, b"r" * 32)


def begin(log: Log, of: Lease) -> int:
    of.sequence += 1
    of.running[of.sequence] = 100 + of.sequence
    log.add_open(of, of.sequence, of.running[of.sequence])
    return of.sequence


def end(log: Log, of: Lease, sequence: int, *, last: bool = False) -> CallRecord:
    del of.running[sequence]
    closed = record(sequence, last=last)
    log.add_close(of, closed)
    return closed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def read_all(reader: LogReader) -> list[Finished]:
    found = []
    while finished := reader.read():
        found += finished
    return found


def test_entries_read_as_they_were_written() -> None:
    data = entries.batch(
        [
            entries.lease_entry(7, 3, TERMS, 99),
            entries.open_entry(7, 4, 100),
            entries.close_entry(7, record(4)),
        ]
    )
    found = entries.next_batch(data, 0)
    assert found is not None
    body, behind = found
    assert behind == len(data)
    assert list(entries.read_entries(body)) == [
        entries.LeaseEntry(7, 3, TERMS, 99),
        entries.OpenEntry(7, 4, 100),
        entries.CloseEntry(7, record(4)),
    ]


@given(st.integers(0, 200), st.integers(0, 255))
def test_a_torn_or_changed_batch_is_not_read(place: int, wrong: int) -> None:
    data = entries.batch([entries.open_entry(1, 1, 1), entries.close_entry(1, record(1))])
    assert entries.next_batch(data[: place % len(data)], 0) is None
    changed = bytearray(data)
    changed[place % len(data)] ^= wrong
    if wrong:
        assert entries.next_batch(bytes(changed), 0) is None


def test_nothing_is_in_the_file_before_a_flush(folder: Path) -> None:
    log = Log(folder, max_bytes=1 << 20, live=list)
    log.add_lease(lease(1))
    assert segment_path(folder, 1).stat().st_size == 0
    assert log.flush()
    assert segment_path(folder, 1).stat().st_size > 0


def test_a_dead_workers_calls_cost_nothing_and_its_leases_end(folder: Path) -> None:
    first, second = lease(1), lease(2)
    log = Log(folder, max_bytes=1 << 20, live=lambda: [first, second])
    log.add_lease(first)
    log.add_lease(second)
    done, begun = begin(log, first), begin(log, first)
    end(log, first, done)
    log.flush()
    reader = LogReader(folder)
    assert [(f.record.sequence, f.record.units) for f in read_all(reader)] == [(done, 1)]
    owed = [(f.terms.lease_id, f.record) for f in reader.recover()]
    assert [(i, r.sequence, r.units, r.outcome, r.last) for i, r in owed] == [
        (first.terms.lease_id, begun, 0, Outcome.ABORTED, False),
        (first.terms.lease_id, begun + 1, 0, Outcome.ABORTED, True),
        (second.terms.lease_id, 1, 0, Outcome.ABORTED, True),
    ]


def test_what_a_dead_worker_owes_is_the_same_however_often_it_is_asked(folder: Path) -> None:
    mine = lease(1)
    log = Log(folder, max_bytes=1 << 20, live=lambda: [mine])
    log.add_lease(mine)
    begin(log, mine)
    log.flush()
    answers = []
    for _ in range(2):
        reader = LogReader(folder)
        read_all(reader)
        answers.append(reader.recover())
    assert answers[0] == answers[1]


def test_a_batch_that_is_cut_off_is_as_if_never_written(folder: Path) -> None:
    mine = lease(1)
    log = Log(folder, max_bytes=1 << 20, live=lambda: [mine])
    log.add_lease(mine)
    begin(log, mine)
    log.flush()
    whole = segment_path(folder, 1).stat().st_size
    end(log, mine, 1)
    log.flush()
    os.truncate(segment_path(folder, 1), whole + 20)
    reader = LogReader(folder)
    assert read_all(reader) == []
    assert [f.record.outcome for f in reader.recover()] == [Outcome.ABORTED, Outcome.ABORTED]


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """Files of this process cannot grow beyond the limit."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("room", [0, 10])
def test_a_full_disk_stops_admission_and_loses_nothing(folder: Path, room: int) -> None:
    mine = lease(1)
    log = Log(folder, max_bytes=1 << 20, live=lambda: [mine])
    log.add_lease(mine)
    begin(log, mine)
    assert log.flush()
    size = segment_path(folder, 1).stat().st_size
    with full_disk(size + room):
        end(log, mine, 1)
        assert [log.flush(), log.admits] == [False, False]
        log.sweep()
        assert [log.flush(), log.admits] == [False, False]
        assert segment_path(folder, 1).stat().st_size == size
    log.sweep()
    assert [log.flush(), log.admits] == [True, True]
    assert [f.record.sequence for f in read_all(LogReader(folder))] == [1]


def test_unshipped_usage_beyond_its_bound_stops_admission(folder: Path) -> None:
    mine = lease(1)
    log = Log(folder, max_bytes=10_000, live=lambda: [mine], segment_bytes=2000)
    log.add_lease(mine)
    while log.admits:
        end(log, mine, begin(log, mine))
        assert log.flush()
    reader = LogReader(folder)
    read_all(reader)
    reader.confirm()
    log.sweep()
    assert log.admits


def test_a_folder_belongs_to_one_gateway(tmp_path: Path) -> None:
    with hold(tmp_path):
        with pytest.raises(FolderInUse), hold(tmp_path):
            pass
        with WorkerFolder.create(tmp_path, "worker-1") as mine:
            assert worker_folders(tmp_path) == [mine.path]
            assert not is_abandoned(mine.path)
        assert is_abandoned(mine.path)
    with hold(tmp_path):
        assert worker_folders(tmp_path) == [mine.path]


def test_a_folder_that_is_going_or_nobodys_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    with hold(tmp_path):
        with WorkerFolder.create(tmp_path, "worker-1") as mine:
            pass
        LogReader(mine.path).remove()
        assert worker_folders(tmp_path) == []
        # Killed in the middle of a removal.
        (tmp_path / ".new-worker-2").mkdir()
        assert worker_folders(tmp_path) == []
    with hold(tmp_path):
        assert not (tmp_path / ".new-worker-2").exists()


def test_the_only_copy_of_live_leases_stays_until_the_next_segment_repeats_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = lease(1)
    log = Log(folder, max_bytes=1 << 20, live=lambda: [mine], segment_bytes=600)
    log.add_lease(mine)
    log.flush()
    reader = LogReader(folder)
    # The disk takes the new file, and not what belongs into it.
    monkeypatch.setattr(Log, "_write", lambda self: False)
    log._turn_over()
    monkeypatch.undo()
    assert len(segment_numbers(folder)) == 2
    read_all(reader)
    reader.confirm()
    assert len(segment_numbers(folder)) == 2
    assert [f.terms.lease_id for f in recovered(folder)] == [mine.terms.lease_id]


def test_a_segment_after_which_nothing_lives_goes_although_the_next_is_empty(folder: Path) -> None:
    log = Log(folder, max_bytes=1 << 20, live=list, segment_bytes=1)
    mine = lease(1)
    log.add_lease(mine)
    closed = end(log, mine, begin(log, mine), last=True)
    log.flush()
    reader = LogReader(folder)
    assert [f.record for f in read_all(reader)] == [closed]
    reader.confirm()
    assert segment_numbers(folder) == [2]


def recovered(folder: Path) -> list[Finished]:
    reader = LogReader(folder)
    read_all(reader)
    return reader.recover()


class LogMachine(RuleBasedStateMachine):
    """A worker that writes, turns over and may die; a shipper that reads, confirms and may restart, in any order."""

    segment_bytes = log_module.SEGMENT_BYTES

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.live: dict[int, Lease] = {}
        self.made = 0
        self.log = Log(
            self.folder, max_bytes=1 << 30, live=self.live.values, segment_bytes=self.segment_bytes
        )
        self.reader = LogReader(self.folder)
        # Records in the order of writing; what was flushed of them; what the shipper confirmed.
        self.closed: list[tuple[str, CallRecord]] = []
        self.confirmed: list[tuple[str, CallRecord]] = []
        self.unconfirmed: list[tuple[str, CallRecord]] = []

    @rule()
    def lend(self) -> None:
        self.made += 1
        self.live[self.made] = lease(self.made)
        self.log.add_lease(self.live[self.made])

    @precondition(lambda self: self.live)
    @rule(place=st.integers(0, 9), count=st.integers(1, 12))
    def open(self, place: int, count: int) -> None:
        for _ in range(count):
            begin(self.log, list(self.live.values())[place % len(self.live)])

    @precondition(lambda self: any(of.running for of in self.live.values()))
    @rule(place=st.integers(0, 99))
    def close(self, place: int) -> None:
        running = [(of, sequence) for of in self.live.values() for sequence in of.running]
        of, sequence = running[place % len(running)]
        last = len(of.running) == 1 and sequence == of.sequence and place % 3 == 0
        self.closed.append((of.terms.lease_id, end(self.log, of, sequence, last=last)))
        if last:
            del self.live[of.ref]

    @rule()
    def flush(self) -> None:
        assert self.log.flush()

    @rule()
    def read(self) -> None:
        self.unconfirmed += [(f.terms.lease_id, f.record) for f in self.reader.read()]

    @rule()
    def confirm(self) -> None:
        self.reader.confirm()
        self.confirmed += self.unconfirmed
        self.unconfirmed = []

    @rule()
    def restart_the_shipper(self) -> None:
        self.reader = LogReader(self.folder)
        self.unconfirmed = []

    def teardown(self) -> None:
        self.log.flush()
        self.log.close()
        while finished := self.reader.read():
            self.unconfirmed += [(f.terms.lease_id, f.record) for f in finished]
        self.confirm()
        assert self.confirmed == self.closed
        owed = self.reader.recover()
        ended = {f.terms.lease_id: f.record.sequence for f in owed if f.record.last}
        assert ended == {of.terms.lease_id: of.sequence + 1 for of in self.live.values()}
        running = {(of.terms.lease_id, sequence) for of in self.live.values() for sequence in of.running}
        assert {(f.terms.lease_id, f.record.sequence) for f in owed if not f.record.last} == running
        assert segment_numbers(self.folder) == [max(segment_numbers(self.folder))]
        shutil.rmtree(self.folder)


class SmallSegments(LogMachine):
    """The same with a turn-over every few entries."""

    segment_bytes = 600


TestLogMachine = LogMachine.TestCase
TestSmallSegments = SmallSegments.TestCase
