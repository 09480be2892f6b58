"""What the clients were told, what the model wrote down and what was recorded, call by call."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from licet_schemas.licet.usage.v1.usage_pb2 import OUTCOME_ABORTED, OUTCOME_OK, UsageRecorded

from licet_gateway.testing.books import Books
from licet_gateway.testing.calls import Seen
from licet_gateway.testing.gateways import is_marker
from licet_gateway.testing.storm.calls import HELD_TOKENS, Fate, Told, Way
from licet_gateway.testing.storm.clients import LONGEST_CALL_S

# A revocation has reached every worker that runs, and 500 ms more.
REACHES_S = 1.5
# From when a gateway lets a request go to when the model has it.
TRANSIT_S = 1.5


@dataclass
class Comparison:
    """`wrong` are sentences, each a broken promise; `counts` is what the storm was."""

    made: list[Told]
    seen: Mapping[int, Seen]
    books: Books
    # Names of the workers that were killed.
    killed: set[str]
    # By the id of an account: when its revocation had been told.
    revoked_s: Mapping[int, float]
    ttl_s: float
    callers: int
    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        """Compares everything."""
        self.wrong += self.books.faults
        records = {r.request_id: r for each in self.books.records.values() for r in each.values()}
        named = self._named(records)
        free: Counter[str] = Counter()
        for told in self.made:
            self.counts[told.fate.value] += 1
            record = named.get(told.number)
            self._one(told, record, free)
            self._right(told)
        for worker, count in free.items():
            if count > self.callers:
                self.wrong.append(f"{count} whole answers of killed worker {worker} are free")
        self._sums(records.values())
        self._closed()

    def _named(self, records: Mapping[str, UsageRecorded]) -> dict[int, UsageRecorded]:
        """The record of each call: by the name that its client was told, else by what the record commits to."""
        named = {t.number: records[t.request_id] for t in self.made if t.request_id in records}
        names = {record.request_id for record in named.values()}
        unknown: dict[int, list[Told]] = defaultdict(list)
        for told in self.made:
            if told.number not in named:
                unknown[id(told.account)].append(told)
        owners = self._owners
        for record in records.values():
            if record.request_id in names or not any(record.request_commitment):
                continue
            for told in unknown[owners[record.lease_id]]:
                if told.commits_to(record.request_id) == record.request_commitment:
                    named[told.number] = record
                    break
        return named

    @property
    def _owners(self) -> dict[str, int]:
        """The ids of the accounts that were lent each lease."""
        accounts = {id(right): id(a) for a in self.books.accounts for right in a.rights.values()}
        return {name: accounts[id(lent.right)] for name, lent in self.books.licensing.leases.items()}

    def _one(self, told: Told, record: UsageRecorded | None, free: Counter[str]) -> None:
        seen = self.seen.get(told.number)
        served = _served(told, seen)
        what = f"call {told.number} ({told.way.value}, {told.fate.value})"
        if told.fate is Fate.WHOLE:
            self._whole(what, told, record, served, free)
        if record is None:
            return
        if record.units > served:
            self.wrong.append(f"{what} is billed {record.units}, the model served {served}")
        if told.held and told.taken >= HELD_TOKENS and record.outcome == OUTCOME_ABORTED:
            self.counts["held streams of killed workers"] += 1
            if record.units < HELD_TOKENS:
                self.wrong.append(f"{what} gave {told.taken} tokens and is billed {record.units}")
        if seen is not None and seen.at:
            self._in_time(what, seen, record)

    def _whole(
        self, what: str, told: Told, record: UsageRecorded | None, served: int, free: Counter[str]
    ) -> None:
        """An answer that came whole is OK with its full units, unless its worker was killed."""
        if served < told.units:
            self.wrong.append(f"{what} of {told.units} units was answered, the model served {served}")
        if record is None:
            self.wrong.append(f"{what} has no record")
            return
        if told.calm:
            self.counts["whole before any kill"] += 1
            self.counts["served - billed of these"] += served - record.units
        if record.outcome == OUTCOME_OK and record.units == told.units:
            return
        if record.worker_id in self.killed and record.outcome == OUTCOME_ABORTED and not told.calm:
            free[record.worker_id] += 1
            self.counts["whole and free"] += 1
        else:
            self.wrong.append(f"{what} of {told.units} units has {record.units}, outcome {record.outcome}")

    def _in_time(self, what: str, seen: Seen, record: UsageRecorded) -> None:
        late_s = min(seen.at) - self.books.licensing.leases[record.lease_id].until_s
        if late_s > TRANSIT_S:
            self.wrong.append(f"{what} came to the model {late_s:.3f} s after its lease's end")

    def _right(self, told: Told) -> None:
        fell_s = self.revoked_s.get(id(told.account))
        if fell_s is None or told.status != 200:
            return
        if told.begun_s > fell_s + REACHES_S:
            late_s = told.begun_s - fell_s
            self.wrong.append(
                f"call {told.number} began {late_s:.3f} s after its right fell, and was answered"
            )
        if told.answered_s > fell_s + self.ttl_s + LONGEST_CALL_S:
            self.wrong.append(f"call {told.number} was answered after its right's every time limit")

    def _sums(self, records: Iterable[UsageRecorded]) -> None:
        """Of each account: every call that the model saw has a record, and no more is billed than it served."""
        billed: Counter[int] = Counter()
        recorded: Counter[int] = Counter()
        owners = self._owners
        for record in records:
            owner = owners[record.lease_id]
            billed[owner] += record.units
            recorded[owner] += not is_marker(record)
        served: Counter[int] = Counter()
        reached: dict[int, set[int]] = defaultdict(set)
        for told in self.made:
            if told.number in self.seen:
                served[id(told.account)] += _served(told, self.seen[told.number])
                reached[id(told.account)].add(told.number)
        for account in self.books.accounts:
            each = id(account)
            if billed[each] > served[each]:
                self.wrong.append(f"an account is billed {billed[each]} and was served {served[each]}")
            if len(reached[each]) > recorded[each]:
                self.wrong.append(f"the model saw {len(reached[each])} calls, recorded are {recorded[each]}")
        self.counts["billed"], self.counts["served"] = sum(billed.values()), sum(served.values())

    def _closed(self) -> None:
        for total in self.books.sums():
            if not total.holds or total.spent > total.granted or total.leased or total.suspended:
                self.wrong.append(f"the books of a grant do not close: {total}")


def _served(told: Told, seen: Seen | None) -> int:
    if seen is None:
        return 0
    return max(seen.sent, default=0) if told.way is Way.STREAM else seen.rows
