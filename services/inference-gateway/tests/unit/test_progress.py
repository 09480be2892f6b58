"""What a streamed call had told outlives its process: through restarts, new segments and a torn end of the log."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licet_gateway.dataplane import entries
from licet_gateway.dataplane.entries import ProgressEntry
from licet_gateway.dataplane.lease import Lease
from licet_gateway.dataplane.log import Log, segment_numbers, segment_path
from licet_gateway.dataplane.pool import Pool
from licet_gateway.dataplane.share import Share
from licet_gateway.domain import CallRecord, Credential, Outcome
from licet_gateway.shipping.reader import LogReader
from licet_gateway.testing import lease_desk


def opened(log: Log, calls: int) -> Lease:
    """A lease with so many calls in flight."""
    pool = Pool(Credential(api_key_hash=bytes(32)), lease_desk.TERMS.slug, 0)
    lease = Lease(replace(lease_desk.TERMS, units=10_000), pool, Share(0), ref=1, asked_ns=0)
    log.add_lease(lease)
    for sequence in range(1, calls + 1):
        lease.sequence = sequence
        lease.running[sequence] = 100 + sequence
        log.add_open(lease, sequence, 100 + sequence)
    return lease


def tell(log: Log, lease: Lease, sequence: int, units: int) -> None:
    lease.progress[sequence] = units
    log.add_progress(lease, sequence, units)


def a_log(folder: Path, leases: list[Lease], **how: int) -> Log:
    return Log(folder, max_bytes=10**9, live=lambda: leases, **how)


def owed(folder: Path) -> dict[int, int]:
    """Units of the calls that the dead worker left open."""
    reader = LogReader(folder)
    assert reader.read() == []
    found = reader.recover()
    assert found[-1].record.last, "the end of the lease"
    assert {finished.record.outcome for finished in found} == {Outcome.ABORTED}
    return {finished.record.sequence: finished.record.units for finished in found[:-1]}


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**63), st.integers(0, 2**63))
def test_an_entry_is_read_as_it_was_written(ref: int, sequence: int, units: int) -> None:
    body = entries.progress_entry(ref, sequence, units)
    assert list(entries.read_entries(body)) == [ProgressEntry(ref, sequence, units)]


def test_an_open_call_costs_what_it_told_last(tmp_path: Path) -> None:
    log = a_log(tmp_path, [])
    lease = opened(log, 3)
    for sequence, units in ((1, 4), (2, 9), (1, 7)):
        tell(log, lease, sequence, units)
        log.flush()
    assert owed(tmp_path) == {1: 7, 2: 9, 3: 0}


def test_a_call_that_ended_costs_what_its_end_says(tmp_path: Path) -> None:
    log = a_log(tmp_path, [])
    lease = opened(log, 2)
    tell(log, lease, 1, 40)
    tell(log, lease, 2, 5)
    log.add_close(lease, CallRecord(1, 0, Outcome.UPSTREAM_ERROR, False, 101, 200))
    log.flush()
    reader = LogReader(tmp_path)
    (failed,) = reader.read()
    assert (failed.record.sequence, failed.record.units) == (1, 0)
    assert [(f.record.sequence, f.record.units) for f in reader.recover()] == [(2, 5), (3, 0)]


def test_a_new_segment_repeats_what_was_told(tmp_path: Path) -> None:
    leases: list[Lease] = []
    log = a_log(tmp_path, leases, segment_bytes=1)
    lease = opened(log, 2)
    leases.append(lease)
    tell(log, lease, 1, 11)
    log.flush()
    assert len(segment_numbers(tmp_path)) == 2
    # Shipped and deleted: the second one is all there is.
    segment_path(tmp_path, 1).unlink()
    (tmp_path / "shipped").write_text('{"segment": 2, "offset": 0}')
    assert owed(tmp_path) == {1: 11, 2: 0}


def test_a_torn_last_step_leaves_the_one_before(tmp_path: Path) -> None:
    log = a_log(tmp_path, [])
    lease = opened(log, 1)
    tell(log, lease, 1, 3)
    log.flush()
    whole = segment_path(tmp_path, 1).stat().st_size
    tell(log, lease, 1, 8)
    log.flush()
    os.truncate(segment_path(tmp_path, 1), whole + 10)
    assert owed(tmp_path) == {1: 3}


@pytest.mark.parametrize("shipped", [True, False])
def test_a_reader_that_starts_anew_knows_what_was_told(tmp_path: Path, shipped: bool) -> None:
    log = a_log(tmp_path, [])
    lease = opened(log, 2)
    tell(log, lease, 1, 6)
    log.add_close(lease, CallRecord(2, 1, Outcome.OK, False, 102, 200))
    log.flush()
    first = LogReader(tmp_path)
    assert len(first.read()) == 1
    if shipped:
        first.confirm()
    second = LogReader(tmp_path)
    assert len(second.read()) == (0 if shipped else 1)
    assert [(f.record.sequence, f.record.units) for f in second.recover()] == [(1, 6), (3, 0)]
