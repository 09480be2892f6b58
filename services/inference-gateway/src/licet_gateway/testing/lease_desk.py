"""A desk for the lease book: it notes what is asked and recorded, under a hand-driven clock, and answers on demand."""

from __future__ import annotations

from dataclasses import dataclass, field

from licet_gateway.dataplane.clock import SECOND
from licet_gateway.dataplane.lease import Lease
from licet_gateway.dataplane.leases import LeaseBook
from licet_gateway.dataplane.pool import Ask
from licet_gateway.domain import CallRecord, Credential, LeaseTerms, Outcome, Refusal
from licet_gateway.testing.keys import CHAIN_ID

CALLER = Credential(api_key_hash=bytes(32))
SLUG = "acme/risk"
TERMS = LeaseTerms(
    lease_id="a" * 32,
    grant_id="31337:0xlicense:1:0",
    generation=3,
    account_id="account",
    account_lease=1,
    plan_id="1",
    asset_id="0x01",
    version_digest="0x02",
    units=10,
    ttl_ms=10_000,
    price_book_version="31337:0xplanbook:1",
    metering_rule="request",
    decision_id="decision",
    slug=SLUG,
)
EXHAUSTED = Refusal("quota_exhausted", "no units are left", "renew")
MISSING = Refusal("license_missing", "no license", "buy one")


@dataclass
class Desk:
    """Stands for licensing, the journal and the clock."""

    now: int = 1000 * SECOND
    asks: list[Ask] = field(default_factory=list)
    returned: list[tuple[str, int, int]] = field(default_factory=list)
    opened: list[tuple[str, int]] = field(default_factory=list)
    told: list[tuple[str, int, int]] = field(default_factory=list)
    closed: list[tuple[str, CallRecord]] = field(default_factory=list)

    def clock(self) -> int:
        return self.now

    def ask(self, ask: Ask) -> None:
        self.asks.append(ask)

    def give_back(self, lease_id: str, spent: int, last_sequence: int) -> None:
        self.returned.append((lease_id, spent, last_sequence))

    def add_lease(self, lease: Lease) -> None:
        """The lease entry is covered by the log's own tests."""

    def add_open(self, lease: Lease, sequence: int, started_ns: int) -> None:
        self.opened.append((lease.terms.lease_id, sequence))

    def add_progress(self, lease: Lease, sequence: int, units: int) -> None:
        self.told.append((lease.terms.lease_id, sequence, units))

    def add_close(self, lease: Lease, record: CallRecord) -> None:
        self.closed.append((lease.terms.lease_id, record))

    def book(self) -> LeaseBook:
        return LeaseBook(self, self, chains=[CHAIN_ID], idle_ns=3 * SECOND, clock=self.clock)


@dataclass
class Caller:
    """A call that waits, and what it was told."""

    lease: Lease | None = None
    refusal: Refusal | None = None

    def leased(self, lease: Lease) -> None:
        self.lease = lease

    def refused(self, refusal: Refusal) -> None:
        self.refusal = refusal


def wait(book: LeaseBook, units: int = 1, credential: Credential = CALLER) -> Caller:
    caller = Caller()
    answer = book.reserve(credential, SLUG, units, caller)
    if isinstance(answer, Refusal):
        caller.refused(answer)
    elif answer is not None:
        caller.leased(answer)
    return caller


def finish(book: LeaseBook, caller: Caller, *, held: int = 1, units: int = 1) -> None:
    assert caller.lease is not None
    sequence = book.begin(caller.lease, 1)
    assert sequence is not None
    end(book, caller, sequence, held=held, units=units)


def end(book: LeaseBook, caller: Caller, sequence: int, *, held: int = 1, units: int = 1) -> None:
    assert caller.lease is not None
    book.finish(caller.lease, held, CallRecord(sequence, units, Outcome.OK, False, 1, 2))
