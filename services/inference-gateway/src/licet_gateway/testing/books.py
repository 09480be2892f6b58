"""Licensing's books beside the scripted LeaseService: what of each right is free, lent, in doubt and spent.

Records decide, as in the real service: a lease is closed when every sequence up to its `last` has come.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from licet_schemas.licet.usage.v1.usage_pb2 import UsageRecorded

from licet_gateway.testing.gateways import UsageTopic
from licet_gateway.testing.licensing import Lent, ScriptedLicensing
from licet_gateway.testing.scene import Scene


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
    # Whose rights are kept, and how many units each was given.
    accounts: list[Scene] = field(default_factory=list)
    granted: dict[int, int] = field(default_factory=dict)
    records: dict[str, dict[int, UsageRecorded]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    _read: int = 0
    # By lease.
    _spent: dict[str, int] = field(default_factory=dict)

    def open_for(self, account: Scene) -> None:
        """Begins to keep an account's rights."""
        self.accounts.append(account)
        for right in account.rights.values():
            self.granted[id(right)] = right.free

    def read(self) -> None:
        """Takes in what came since the last time."""
        new, self._read = self.topic.records[self._read :], len(self.topic.records)
        for record in new:
            self._take(record)

    def sums(self) -> list[Sum]:
        """The equation of every right, now."""
        found = {each: Sum(granted, 0) for each, granted in self.granted.items()}
        for account in self.accounts:
            for right in account.rights.values():
                found[id(right)].free = right.free
        now = time.monotonic()
        for lease_id, lent in self.licensing.leases.items():
            self._add(found[id(lent.right)], lease_id, lent, now)
        return list(found.values())

    def begun(self) -> list[str]:
        """Leases that have records, and not all of them yet."""
        return [lease_id for lease_id in self.records if lease_id not in self.closed]

    def fence(self) -> int:
        """Takes back the leases whose time is over and whose records never came: how many."""
        now = time.monotonic()
        over = [
            (lease_id, lent)
            for lease_id, lent in self.licensing.leases.items()
            if lease_id not in self.records and lease_id not in self.closed and now > lent.until_s
        ]
        for lease_id, lent in over:
            self._close(lease_id, lent)
        return len(over)

    def lent(self) -> list[str]:
        """Leases that are neither closed nor fenced."""
        return [lease_id for lease_id in self.licensing.leases if lease_id not in self.closed]

    def _add(self, found: Sum, lease_id: str, lent: Lent, now: float) -> None:
        spent = self._spent.get(lease_id, 0)
        found.spent += spent
        if now < lent.until_s:
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
        if first is record:
            self._spent[record.lease_id] = self._spent.get(record.lease_id, 0) + record.units
        if (first.units, first.outcome, first.last) != (record.units, record.outcome, record.last):
            self.faults.append(f"two records of one call differ: {record.request_id}")
        if record.lease_id in self.closed:
            if first is record:
                # What a fenced lease served would be nobody's.
                self.faults.append(f"a record behind the last of its lease: {record.request_id}")
            return
        last = next((sequence for sequence, each in known.items() if each.last), 0)
        if last and len(known) == last == max(known):
            self._close(record.lease_id, lent)

    def _close(self, lease_id: str, lent: Lent) -> None:
        spent = self._spent.get(lease_id, 0)
        if spent > lent.units:
            self.faults.append(f"lease {lease_id} of {lent.units} units has records of {spent}")
        self.closed.add(lease_id)
        lent.closed = True
        lent.right.free += lent.units - spent
        lent.units = spent
