"""Settlement: which charges go into a batch, and the state machine that gets a batch on chain.

A batch number is used once for good: the contract treats a repeat as a no-op, so whatever is sent again (the same
bytes, a replacement with a higher fee, another nonce after the old one was spent otherwise) cannot settle twice.
Before anything is broadcast its signed bytes, hash and nonce are stored, so that a restart knows all that may
still be on its way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from licet_billing.domain.usage import DIRECT

# UsageEscrow.MAX_ITEMS.
MAX_ITEMS: Final = 500
# What settling costs at most, in gas: rounded up from measurements, with a window of a mandate that begins. A node
# takes no transaction above 2^24 (EIP-7825), and other settlements may come before this one.
MAX_GAS: Final = 14_000_000
BATCH_GAS: Final = 80_000
GROUP_GAS: Final = 110_000
LINE_GAS: Final = 25_000
# geth replaces a transaction in its pool only when both fees rise by 10 %; 25 % leaves room for other clients' rules.
BUMP_NUMERATOR: Final = 5
BUMP_DENOMINATOR: Final = 4
# A replacement offers at most so many times the market's fee, or a node that mines nothing would drive it up for ever.
FEE_CEILING: Final = 10


class BatchState(StrEnum):
    """Where a batch stands. Every state but `final` and `conflict` is driven on."""

    PREPARED = "prepared"  # composed and numbered; nothing of it was ever broadcast
    SUBMITTED = "submitted"  # a node has taken a transaction of it
    UNKNOWN = "unknown"  # a broadcast ended without an answer: it may be on its way or not
    INCLUDED = "included"  # in a block that can still leave the chain
    REORGED = "reorged"  # was included, and its block left the chain
    FINAL = "final"  # in a final block
    CONFLICT = "conflict"  # the chain holds another root under this number; needs a person


class AttemptState(StrEnum):
    """Where one signed transaction of a batch stands."""

    SIGNED = "signed"  # stored; no node is known to have taken it
    SENT = "sent"
    UNKNOWN = "unknown"
    INCLUDED = "included"
    REVERTED = "reverted"
    REPLACED = "replaced"  # its nonce was spent by another transaction


class Answer(StrEnum):
    """What the answer to a broadcast proves."""

    SENT = "sent"  # the node has the transaction
    REFUSED = "refused"  # the node did not take it now; it may be mined already
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Reply:
    """How a broadcast ended, and why where the node has not just taken it."""

    answer: Answer
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A billed charge that is, or will be, a leaf of a batch."""

    request_id: str
    deposit_id: str
    asset_id: str
    currency: str
    payer: str
    amount: int
    receipt_hash: bytes
    salt: bytes
    authority: str = DIRECT
    window: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One future item: the charges of one deposit for one asset by one authority, in leaf order."""

    deposit_id: str
    authority: str
    window: int
    asset_id: str
    currency: str
    charges: tuple[Leaf, ...]

    @property
    def amount(self) -> int:
        """What the line draws."""
        return sum(charge.amount for charge in self.charges)


@dataclass(frozen=True, slots=True)
class Cap:
    """What the operator may draw of a currency: in a whole window, and what is left of this one."""

    whole: int
    left: int


@dataclass(frozen=True, slots=True)
class Stuck:
    """A charge above the whole cap of its currency: it, and the younger ones behind it, wait for a higher cap."""

    chain_id: int
    currency: str
    request_id: str
    amount: int
    cap: int


def compose(charges: Iterable[Leaf], caps: Mapping[str, int], most: int = MAX_ITEMS) -> list[Line]:
    """Puts charges, oldest first, into at most `most` lines, those of one asset and currency side by side.

    `caps` says what may still be drawn of each currency in the operator's window; a charge that does not fit waits
    for a later batch, and so do the younger ones of its currency, so that none is overtaken for ever. Nor does a batch
    cost more gas than a transaction may have.
    """
    groups: dict[tuple[str, str], dict[tuple[str, str, int], list[Leaf]]] = {}
    left, lines, gas = dict(caps), 0, MAX_GAS - BATCH_GAS
    for charge in charges:
        of, key = (charge.asset_id, charge.currency), (charge.deposit_id, charge.authority, charge.window)
        cost = 0 if key in groups.get(of, {}) else LINE_GAS + (0 if of in groups else GROUP_GAS)
        if cost and (lines == most or cost > gas):
            continue
        if charge.amount > left.get(charge.currency, 0):
            left[charge.currency] = 0
            continue
        left[charge.currency] -= charge.amount
        lines, gas = lines + (1 if cost else 0), gas - cost
        groups.setdefault(of, {}).setdefault(key, []).append(charge)
    return [
        Line(*key, asset_id=asset_id, currency=currency, charges=tuple(leaves))
        for (asset_id, currency), group in groups.items()
        for key, leaves in group.items()
    ]


@dataclass(frozen=True, slots=True)
class Fees:
    """EIP-1559 fees of a transaction, in wei for each gas."""

    max_fee: int
    priority_fee: int

    def bumped(self, market: Fees) -> Fees:
        """Fees of a replacement: a quarter above these, or the market's where that is higher."""
        return Fees(_bump(self.max_fee, market.max_fee), _bump(self.priority_fee, market.priority_fee))

    def outgrown_by(self, market: Fees) -> bool:
        """Whether the market asks for more than they offer."""
        return market.max_fee > self.max_fee or market.priority_fee > self.priority_fee

    def exceeds(self, market: Fees) -> bool:
        """Whether they are more than anything but a fault can call for."""
        return self.max_fee > FEE_CEILING * market.max_fee


def _bump(old: int, market: int) -> int:
    return max(old * BUMP_NUMERATOR // BUMP_DENOMINATOR + 1, market)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A signed transaction of a batch. `sent_at` is the Unix time of its last broadcast, 0 before the first."""

    tx_hash: str
    nonce: int
    raw: bytes
    fees: Fees
    state: AttemptState
    signed_at: float
    sent_at: float

    def replacement_fees(self, market: Fees) -> Fees | None:
        """Fees of the transaction that takes its place; None where this one is to be sent again as it is.

        One that a node took may wait for a higher fee, up to the ceiling: beyond that the node mines nothing. One
        that no node is known to have taken waits for something else (money, its nonce), unless the market has
        outgrown it. A crash may have kept the answer from us, so what follows it must do as its replacement as well:
        a node takes none of which either fee is as low as before.
        """
        if self.state is AttemptState.SIGNED and not self.fees.outgrown_by(market):
            return None
        fees = self.fees.bumped(market)
        return None if fees.exceeds(market) else fees


@dataclass(frozen=True, slots=True, order=True)
class BatchKey:
    """Names a batch: an operator counts its batches on each chain from 1."""

    chain_id: int
    operator: str
    number: int


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch on its way; `root` commits to its content."""

    key: BatchKey
    root: str
    state: BatchState
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """What others are told of a batch. `version` counts its states; `paid` is None until its lines are posted."""

    key: BatchKey
    version: int
    state: BatchState
    tx_hash: str
    root: str
    due: int
    paid: int | None
    items: int
    charges: int


@dataclass(frozen=True, slots=True)
class Inclusion:
    """The receipt of a transaction. `settled`: its logs hold this batch's BatchSettled."""

    block_number: int
    block_hash: str
    ok: bool
    settled: bool


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the chain says of a batch now. `root_on_chain` is empty while the number is unused."""

    inclusions: Mapping[str, Inclusion]
    root_on_chain: str
    final_block: int
    next_nonce: int
    now: float


@dataclass(frozen=True, slots=True)
class Timing:
    """How long an attempt may wait: before its bytes are sent again, and before its fee is raised (seconds)."""

    resend_after_s: float
    bump_after_s: float


@dataclass(frozen=True, slots=True)
class Settled:
    """The batch is on chain; `final` once its block cannot leave."""

    tx_hash: str
    inclusion: Inclusion
    final: bool


@dataclass(frozen=True, slots=True)
class Sign:
    """Sign a transaction with this nonce; with `replaces`, at fees above that attempt's."""

    nonce: int
    replaces: Attempt | None


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send the stored bytes of this attempt (again)."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before the next look."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Another content was settled under this number: stop, a person must look."""

    root_on_chain: str


Step = Settled | Sign | Broadcast | Wait | Conflict


def next_step(batch: Batch, seen: Sighting, nonce: int, timing: Timing) -> Step:
    """What to do with a batch that is not final.

    `nonce` is the one that its transaction must have: the chain's next nonce for the first batch that is not on
    chain, one more for each further one. Everything follows from what is stored and what is seen, never from what
    this process remembers, so that any replica can go on after any crash.
    """
    for tx_hash, inclusion in seen.inclusions.items():
        if inclusion.settled:
            return Settled(tx_hash, inclusion, inclusion.block_number <= seen.final_block)
    if seen.root_on_chain:
        # Neither receipt nor log although the batch is there: a node that lags behind another. Look again.
        return Wait() if seen.root_on_chain == batch.root else Conflict(seen.root_on_chain)
    live = _live(batch.attempts, seen.inclusions, nonce)
    if live is None:
        return Sign(nonce, replaces=None)
    is_next = nonce == seen.next_nonce
    if is_next and seen.now - live.signed_at >= timing.bump_after_s:
        return Sign(nonce, replaces=live)
    if live.state is not AttemptState.SENT or batch.state is BatchState.INCLUDED:
        return Broadcast(live)
    return Broadcast(live) if seen.now - live.sent_at >= timing.resend_after_s else Wait()


def _live(attempts: Sequence[Attempt], included: Mapping[str, Inclusion], nonce: int) -> Attempt | None:
    """The newest attempt with this nonce that can still be mined."""
    fitting = [a for a in attempts if a.nonce == nonce and a.tx_hash not in included]
    return max(fitting, key=lambda attempt: attempt.signed_at, default=None)


def is_unexplained(batch: Batch, seen: Sighting) -> bool:
    """Whether the batch is settled, and none of the transactions that were looked for has done it."""
    return seen.root_on_chain == batch.root and not any(i.settled for i in seen.inclusions.values())


def is_on_chain(batch: Batch, seen: Sighting) -> bool:
    """Whether the batch needs no nonce, because it is settled."""
    settled = any(i.settled for i in seen.inclusions.values())
    return settled or seen.root_on_chain == batch.root
