"""Licensing's books beside the scripted LeaseService: what of each right is free, lent, in doubt and spent.

Records decide, as in the real service: a lease is closed when every sequence up to its `last` has come.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from licet_schemas.licet.usage.v1.usage_pb2 import UsageRecorded

from licet_gateway.testing.gateways import UsageTopic
from licet_gateway.testing.licensing import Lent, Right, ScriptedLicensing


@dataclass(slots=True)
class Sum:
    """`granted = free + leased + suspended + spent`."""

    granted: int
    free: int
    leased: int = 0
    suspended: int = 0
    spent: int = 0

    @property
    def holds(self) -> bool:
        parts = (self.free, self.leased, self.suspended, self.spent)
        return self.granted == sum(parts) and min(parts) >= 0


@dataclass
class Books:
    """Reads the topic as it comes. `faults` are sentences, each a broken promise of the gateway."""

    licensing: ScriptedLicensing
    topic: UsageTopic
    granted: dict[int, int] = field(default_factory=dict)
    records: dict[str, dict[int, UsageRecorded]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    _read: int = 0

    def open_for(self, right: Right) -> None:
        """Begins to keep a right."""
        self.granted[id(right)] = right.free

    def read(self) -> None:
        """Takes in what came since the last time."""
        new, self._read = self.topic.records[self._read :], len(self.topic.records)
        for record in new:
            self._take(record)

    def sum_of(self, right: Right) -> Sum:
        """The equation of one right, now."""
        found = Sum(self.granted[id(right)], right.free)
        for lease_id, lent in self.licensing.leases.items():
            if lent.right is right:
                self._add(found, lease_id, lent)
        return found

    def begun(self) -> list[str]:
        """Leases that have records, and not all of them yet."""
        return [lease_id for lease_id in self.records if lease_id not in self.closed]

    def _add(self, found: Sum, lease_id: str, lent: Lent) -> None:
        spent = sum(record.units for record in self.records.get(lease_id, {}).values())
        found.spent += spent
        if time.monotonic() < lent.until_s:
            found.leased += lent.units - spent
        else:
            found.suspended += lent.units - spent

    def _take(self, record: UsageRecorded) -> None:
        lent = self.licensing.leases.get(record.lease_id)
        if lent is None:
            self.faults.append(f"a record of a lease that nobody lent: {record.request_id}")
            return
        known = self.records.setdefault(record.lease_id, {})
        first = known.setdefault(record.sequence, record)
        if (first.units, first.outcome, first.last) != (record.units, record.outcome, record.last):
            self.faults.append(f"two records of one call differ: {record.request_id}")
        if record.lease_id in self.closed:
            if first is record:
                self.faults.append(f"a record behind the last of its lease: {record.request_id}")
            return
        last = next((sequence for sequence, each in known.items() if each.last), 0)
        if last and len(known) == last == max(known):
            self._close(record.lease_id, lent)

    def _close(self, lease_id: str, lent: Lent) -> None:
        spent = sum(record.units for record in self.records[lease_id].values())
        if spent > lent.units:
            self.faults.append(f"lease {lease_id} of {lent.units} units has records of {spent}")
        self.closed.add(lease_id)
        lent.right.free += lent.units - spent
        # A renewal that was on its way is lent anew.
        lent.units = spent
