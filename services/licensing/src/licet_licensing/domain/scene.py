"""What a decision looks at: the rights and the state of the mirror, and the steps that it notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from licet_licensing.domain.codes import Code
from licet_licensing.domain.facts import Asset, Plan
from licet_licensing.domain.grants import Grant
from licet_licensing.domain.mandates import Spending


@dataclass(frozen=True, slots=True)
class Policy:
    """Bounds of every lease. No lease lives longer than `ttl_s`, or than its right."""

    operator: str
    ttl_s: float
    retry_after_ms: int
    mirror_silence_s: float


@dataclass(frozen=True, slots=True)
class Mirror:
    """How well a chain is known: the newest block heard of, and when the indexer was heard (unix seconds)."""

    chain_id: int
    block_number: int
    block_hash: str
    final_block: int
    heard_at: float


@dataclass(frozen=True, slots=True)
class Ask:
    """What a worker wants: `wanted` units for its rate, at least `minimum` for the call that waits."""

    wanted: int
    minimum: int
    min_block: int = 0


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that a decision may look at.

    `licenses` are the grants for the asset that the account's `wallets` hold or were delegated, `credits` their own for
    it, and `deposits` those with this operator; `history` are the codes of licenses that those wallets held or used and
    lost. `indebted` are payers whose use a reorganisation left unpaid. `spending` is the mandate that the caller's key
    is bound to.
    """

    now: float
    account_id: str | None
    asset: Asset | None
    mirror: Mirror | None
    licenses: tuple[Grant, ...] = ()
    credits: tuple[Grant, ...] = ()
    deposits: tuple[Grant, ...] = ()
    history: frozenset[Code] = frozenset()
    plans: Mapping[str, Plan] | None = None
    indebted: frozenset[str] = frozenset()
    workers: int = 1
    wallets: frozenset[str] = frozenset()
    spending: Spending | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One look at one right or rule, in the order in which they were tried."""

    subject: str
    code: Code
    detail: str = ""

    @property
    def usable(self) -> bool:
        """Whether this look let the call pass."""
        return self.code is Code.OK
