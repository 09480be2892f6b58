"""A log with wrong bytes: what lies behind them is read, what they hid is kept and never passed off as complete."""

from __future__ import annotations

import json
import random
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from licet_gateway.dataplane import entries
from licet_gateway.dataplane.lease import Lease
from licet_gateway.dataplane.log import Log, segment_numbers, segment_path
from licet_gateway.dataplane.pool import Pool
from licet_gateway.dataplane.share import Share
from licet_gateway.domain import CallRecord, Credential, Outcome
from licet_gateway.shipping.reader import Finished, LogReader
from licet_gateway.testing.lease_desk import TERMS


class Worker:
    """Writes a log, and knows what it wrote. Every flush is one batch."""

    def __init__(self, folder: Path, *, segment_bytes: int = 1 << 20) -> None:
        folder.mkdir()
        self.folder = folder
        self.live: dict[int, Lease] = {}
        self.all: list[Lease] = []
        self.log = Log(folder, max_bytes=1 << 30, live=self.live.values, segment_bytes=segment_bytes)
        # Of each call that ended, by its lease and sequence: the batch that says so.
        self.ended: dict[tuple[str, int], int] = {}
        self.batch = 0

    def lend(self) -> Lease:
        pool = Pool(Credential(api_key_hash=bytes(32)), TERMS.slug, 0)
        number = len(self.all) + 1
        lease = Lease(replace(TERMS, lease_id=f"{number:032x}"), pool, Share(0), ref=number, asked_ns=0)
        self.all.append(lease)
        self.live[number] = lease
        self.log.add_lease(lease)
        return lease

    def begin(self, lease: Lease) -> None:
        lease.sequence += 1
        lease.running[lease.sequence] = 100
        self.log.add_open(lease, lease.sequence, 100)

    def end(self, lease: Lease, sequence: int, *, last: bool = False) -> None:
        del lease.running[sequence]
        self.ended[lease.terms.lease_id, sequence] = self.batch
        self.log.add_close(lease, CallRecord(sequence, 1, Outcome.OK, last, 100, 200))
        if last:
            del self.live[lease.ref]

    def flush(self) -> None:
        assert self.log.flush()
        self.batch += 1

    def call(self, lease: Lease, *, last: bool = False) -> None:
        self.begin(lease)
        self.end(lease, lease.sequence, last=last)
        self.flush()

    @property
    def aside(self) -> Path:
        return self.folder.with_name(f".aside-{self.folder.name}")


def names(found: list[Finished]) -> list[tuple[str, int]]:
    return [(f.terms.lease_id, f.record.sequence) for f in found]


def read_all(reader: LogReader) -> list[Finished]:
    found = []
    while finished := reader.read():
        found += finished
    return found


def offsets(path: Path) -> list[int]:
    """Where the batches of a segment begin."""
    data, at, found = path.read_bytes(), 0, []
    while (batch := entries.next_batch(data, at)) is not None:
        found.append(at)
        at = batch[1]
    return found


def change(path: Path, place: int, wrong: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= wrong
    path.write_bytes(data)


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path / "worker-1")


@pytest.mark.parametrize("place", [0, 3, 5, 8, 20], ids=["length", "long", "checksum", "kind", "entry"])
def test_what_lies_behind_a_wrong_byte_is_read_and_the_gap_shows(worker: Worker, place: int) -> None:
    lease = worker.lend()
    worker.flush()
    for _ in range(10):
        worker.call(lease)
    path = segment_path(worker.folder, 1)
    start, behind = offsets(path)[4:6]
    change(path, start + place)
    reader = LogReader(worker.folder)
    # The worker lives and goes on.
    assert [sequence for _, sequence in names(read_all(reader))] == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert reader.unshipped_bytes == 0
    reader.confirm()
    kept = worker.aside / f"damaged-00000001-{start}"
    assert kept.read_bytes() == path.read_bytes()[start:behind]
    worker.call(lease)
    assert [sequence for _, sequence in names(read_all(reader))] == [11]
    # It dies: its lease ends behind all that the log shows.
    assert [(f.record.sequence, f.record.last) for f in reader.recover()] == [(12, True)]


def test_damage_at_the_end_of_a_segment_that_is_complete_is_kept(worker: Worker) -> None:
    lease = worker.lend()
    for _ in range(3):
        worker.call(lease)
    first = segment_path(worker.folder, 1)
    change(first, offsets(first)[-1] + 20)
    assert [sequence for _, sequence in names(read_all(LogReader(worker.folder)))] == [1, 2]
    assert not worker.aside.exists()
    worker.log._turn_over()
    worker.call(lease)
    reader = LogReader(worker.folder)
    assert [sequence for _, sequence in names(read_all(reader))] == [1, 2, 4]
    assert len(list(worker.aside.iterdir())) == 1
    assert [(f.record.sequence, f.record.last) for f in reader.recover()] == [(5, True)]


def test_a_lease_that_may_have_gone_on_in_the_damage_is_not_ended(worker: Worker) -> None:
    mine, other = worker.lend(), worker.lend()
    worker.call(mine)
    worker.begin(mine)
    worker.flush()
    worker.call(mine, last=True)
    worker.call(other)
    path = segment_path(worker.folder, 1)
    change(path, offsets(path)[2] + 20)
    reader = LogReader(worker.folder)
    assert names(read_all(reader)) == [(mine.terms.lease_id, 1), (other.terms.lease_id, 1)]
    # Whether call 2 ended, and whether there was a call 3, nobody knows.
    assert names(reader.recover()) == [(other.terms.lease_id, 2)]


def test_zeros_in_the_log_are_no_batches(worker: Worker) -> None:
    lease = worker.lend()
    for _ in range(3):
        worker.call(lease)
    path = segment_path(worker.folder, 1)
    starts = offsets(path)
    data = path.read_bytes()
    path.write_bytes(data[: starts[1]] + bytes(starts[2] - starts[1]) + data[starts[2] :] + bytes(64))
    assert [sequence for _, sequence in names(read_all(LogReader(worker.folder)))] == [1, 3]
    assert [path.name for path in worker.aside.iterdir()] == [f"damaged-00000001-{starts[1]}"]


def test_calls_of_a_lease_that_is_named_no_more_are_kept(worker: Worker) -> None:
    mine, other = worker.lend(), worker.lend()
    worker.flush()
    worker.call(mine)
    change(segment_path(worker.folder, 1), 20)
    late = worker.lend()
    worker.call(late)
    worker.call(other)
    reader = LogReader(worker.folder)
    assert names(read_all(reader)) == [(late.terms.lease_id, 1)]
    reader.confirm()
    lines = [json.loads(line) for line in (worker.aside / "unnamed.jsonl").read_text().splitlines()]
    assert [(line["ref"], line["record"]["units"]) for line in lines] == [(1, 1), (2, 1)]
    # The next segment names what lives.
    worker.log._turn_over()
    worker.call(other)
    assert names(read_all(reader)) == [(other.terms.lease_id, 2)]


def filled(folder: Path, seed: int) -> Worker:
    """A log of some leases and segments."""
    worker, chance = Worker(folder, segment_bytes=2500), random.Random(seed)
    for _ in range(80):
        match chance.randrange(6), list(worker.live.values()):
            case (0, _) | (_, []):
                worker.lend()
            case 1, live:
                of = chance.choice(live)
                if of.running:
                    sequence = chance.choice(sorted(of.running))
                    worker.end(of, sequence, last=len(of.running) == 1 and sequence == of.sequence)
            case 2, live:
                worker.begin(chance.choice(live))
            case 3, live:
                worker.call(chance.choice(live))
            case _:
                worker.flush()
    worker.flush()
    return worker


@given(seed=st.integers(0, 10_000), part=st.floats(0, 1), wrong=st.integers(1, 255))
def test_nothing_is_lost_without_a_word_whatever_byte_is_wrong(seed: int, part: float, wrong: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        worker = filled(Path(place) / "worker-1", seed)
        paths = [segment_path(worker.folder, number) for number in segment_numbers(worker.folder)]
        places = [(path, at) for path in paths for at in range(path.stat().st_size)]
        path, at = places[min(int(part * len(places)), len(places) - 1)]
        # A wrong byte in the last batch of all is taken for a write that was cut off.
        assume(path != paths[-1] or at < offsets(path)[-1])
        change(path, at, wrong)
        reader = LogReader(worker.folder)
        found, owed = read_all(reader), reader.recover()
        reader.confirm()
        assert set(names(found)) <= set(worker.ended)
        assert len(set(names(found))) == len(found)
        kept = list(worker.aside.glob("damaged-*"))
        assert len(kept) == 1
        unnamed = worker.aside / "unnamed.jsonl"
        lines = [json.loads(line) for line in unnamed.read_text().splitlines()] if unnamed.exists() else []
        of_nobody = {(f"{line['ref']:032x}", line["record"]["sequence"]) for line in lines}
        lost = set(worker.ended) - set(names(found)) - of_nobody
        # Only what stood in the one batch is not read.
        assert len({worker.ended[name] for name in lost}) <= 1
        running = {(of.terms.lease_id, s) for of in worker.all for s in of.running}
        assert {name for name, f in zip(names(owed), owed, strict=True) if not f.record.last} <= running
        sequences = {of.terms.lease_id: of.sequence for of in worker.all}
        assert all(f.record.sequence > sequences[f.terms.lease_id] for f in owed if f.record.last)
