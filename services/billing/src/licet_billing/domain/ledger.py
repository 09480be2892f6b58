"""Double-entry ledger: accounts, transactions and the rules by which balances move.

Amounts are whole numbers of a currency's smallest unit. An entry is signed: a debit is positive, a credit is
negative, and the entries of one transaction add up to zero. Accounts follow OpenMeter's model, cut to what this
installation moves; README.md describes each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from licet_billing.domain.errors import Overdraft, Unbalanced


class AccountKind(StrEnum):
    """What an account holds; the owner's meaning depends on it."""

    CUSTOMER = "customer"  # owner: deposit id. Money of a deposit that no charge has taken yet.
    RECEIVABLE = "receivable"  # owner: deposit id. Charges beyond what the deposit holds.
    ACCRUED = "accrued"  # owner: deposit id. Charges that no settlement has drawn yet.
    EXITS = "exits"  # owner: deposit id. Money that waits for its withdrawal.
    HOLDS = "holds"  # owner: operator/batch/asset id. Money that a batch drew and that may still be disputed.
    CLEARING = "clearing"  # owner: contract address. Money that a contract holds on chain.
    EARNINGS = "earnings"  # owner: asset id. Revenue that is not distributed yet.
    PROTOCOL_FEE = "protocol_fee"  # owner: router address. Fees that the treasury has not claimed.
    PAYOUTS = "payouts"  # owner: account address. Claimable money of an earner.
    OPERATOR_LOSS = "operator_loss"  # owner: operator address. Service for which nobody pays.
    UNCOLLECTED = "uncollected"  # owner: operator address. The other side of operator loss.


DEBIT_NORMAL: Final = frozenset({AccountKind.RECEIVABLE, AccountKind.CLEARING, AccountKind.OPERATOR_LOSS})
# Accounts without an overdraft rule are projections of their entries: no row that every posting would lock.
UNGUARDED: Final = frozenset({AccountKind.CLEARING, AccountKind.OPERATOR_LOSS, AccountKind.UNCOLLECTED})


@dataclass(frozen=True, slots=True, order=True)
class Currency:
    """A token of one chain."""

    chain_id: int
    token: str


@dataclass(frozen=True, slots=True, order=True)
class Account:
    """One account; its id is readable and the same wherever it is made."""

    kind: AccountKind
    currency: Currency
    owner: str

    def __hash__(self) -> int:
        """Over the owner alone: books look accounts up for each leg, and few accounts share an owner."""
        return hash(self.owner)

    @property
    def id(self) -> str:
        """`kind:chain:token:owner`."""
        return f"{self.kind}:{self.currency.chain_id}:{self.currency.token}:{self.owner}"

    @property
    def guarded(self) -> bool:
        """Whether the rules forbid a negative balance."""
        return self.kind not in UNGUARDED

    @property
    def normal(self) -> int:
        """+1 where debits raise the balance, -1 where credits do."""
        return 1 if self.kind in DEBIT_NORMAL else -1


class TransactionKind(StrEnum):
    """Why money moved."""

    CHARGE = "charge"
    LOSS = "loss"
    ADVANCE = "advance"
    COVER = "cover"
    FEE_PAYABLE = "fee_payable"
    REVERSAL = "reversal"
    DEPOSITED = "deposited"
    EXIT_REQUESTED = "exit_requested"
    EXIT_DRAWN = "exit_drawn"
    WITHDRAWN = "withdrawn"
    LINE_SETTLED = "line_settled"
    HOLD_RELEASED = "hold_released"
    DRAW_REFUNDED = "draw_refunded"
    REVENUE_RECEIVED = "revenue_received"
    DISTRIBUTED = "distributed"
    CLAIMED = "claimed"


@dataclass(frozen=True, slots=True)
class Entry:
    """One leg: `amount` is positive for a debit, negative for a credit, never zero."""

    account: Account
    amount: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """A balanced set of entries under an id that its maker chose, so that making it twice is making it once.

    `cause` is the id of the charge, chain event or transaction that it follows from.
    Raises Unbalanced for entries that do not add up to zero, are zero, or mix currencies.
    """

    id: str
    kind: TransactionKind
    entries: tuple[Entry, ...]
    cause: str

    def __post_init__(self) -> None:
        currencies = {entry.account.currency for entry in self.entries}
        total = sum(entry.amount for entry in self.entries)
        if total or len(currencies) != 1 or any(entry.amount == 0 for entry in self.entries):
            raise Unbalanced(self.id, total)

    @property
    def currency(self) -> Currency:
        """The currency of all its entries."""
        return self.entries[0].account.currency


def move(id_: str, kind: TransactionKind, cause: str, *legs: tuple[Account, int]) -> Transaction:
    """A transaction of (account, signed amount) legs; legs of zero are left out."""
    entries = tuple(Entry(account, amount) for account, amount in legs if amount)
    return Transaction(id_, kind, entries, cause)


def reversal(transaction: Transaction) -> Transaction:
    """Undoes a posted transaction whose chain event has left the chain after all."""
    entries = tuple(Entry(entry.account, -entry.amount) for entry in transaction.entries)
    return Transaction(f"{transaction.id}/reversed", TransactionKind.REVERSAL, entries, transaction.id)


def fee_transaction_id(claim_id: str) -> str:
    """Id of the transaction that made protocol fees payable for a claim; a claim's reversal undoes it too."""
    return f"{claim_id}/fee"


@dataclass(slots=True)
class Book:
    """Balances of guarded accounts while their rows are locked, and what is posted on them.

    A customer's balance and receivable are the two sides of one position, and at most one of them is above zero:
    a debit beyond the customer's balance is advanced from the receivable first, and money that comes in covers
    the receivable first. `balances` are in each account's normal direction; an account that is not listed has 0.
    """

    balances: Mapping[Account, int]
    # Per chain, the account that may also claim the protocol fees.
    treasuries: Mapping[int, str] = field(default_factory=dict)
    posted: list[Transaction] = field(default_factory=list)
    _changes: dict[Account, int] = field(default_factory=dict)

    def balance(self, account: Account) -> int:
        """Balance now, in the account's normal direction."""
        return self.balances.get(account, 0) + self._changes.get(account, 0)

    def post(self, transaction: Transaction) -> None:
        """Posts it, with the advance before it and the cover after it that it needs.

        Raises Overdraft, and posts nothing, when a guarded account would fall below zero.
        """
        steps = [*self._advances(transaction), *self._fees(transaction), transaction]
        changes = self._changes_of(steps)
        for account, change in changes.items():
            if account.guarded and self.balance(account) + change < 0:
                raise Overdraft(account.id, self.balance(account), -change)
        self._apply(steps)
        self._apply(self._covers(transaction))

    def _apply(self, steps: Iterable[Transaction]) -> None:
        steps = list(steps)
        for account, change in self._changes_of(steps).items():
            self._changes[account] = self._changes.get(account, 0) + change
        self.posted.extend(steps)

    @staticmethod
    def _changes_of(steps: Iterable[Transaction]) -> dict[Account, int]:
        changes: dict[Account, int] = {}
        for step in steps:
            for entry in step.entries:
                change = entry.amount * entry.account.normal
                changes[entry.account] = changes.get(entry.account, 0) + change
        return changes

    def _advances(self, transaction: Transaction) -> Iterable[Transaction]:
        for account, change in self._changes_of([transaction]).items():
            missing = -(self.balance(account) + change)
            if account.kind is AccountKind.CUSTOMER and missing > 0:
                owed = Account(AccountKind.RECEIVABLE, account.currency, account.owner)
                yield move(
                    f"{transaction.id}/advance",
                    TransactionKind.ADVANCE,
                    transaction.id,
                    (owed, missing),
                    (account, -missing),
                )

    def _fees(self, transaction: Transaction) -> Iterable[Transaction]:
        """What the treasury claims beyond its payouts are protocol fees."""
        if transaction.kind is not TransactionKind.CLAIMED:
            return
        payouts, router = transaction.entries[0].account, transaction.entries[1].account
        missing = transaction.entries[0].amount - self.balance(payouts)
        if missing > 0 and payouts.owner == self.treasuries.get(payouts.currency.chain_id):
            fees = Account(AccountKind.PROTOCOL_FEE, payouts.currency, router.owner)
            yield move(
                fee_transaction_id(transaction.id),
                TransactionKind.FEE_PAYABLE,
                transaction.id,
                (fees, missing),
                (payouts, -missing),
            )

    def _covers(self, transaction: Transaction) -> list[Transaction]:
        covers = []
        for entry in transaction.entries:
            account = entry.account
            if account.kind is not AccountKind.CUSTOMER:
                continue
            owed = Account(AccountKind.RECEIVABLE, account.currency, account.owner)
            amount = min(self.balance(account), self.balance(owed))
            if amount > 0:
                covers.append(
                    move(
                        f"{transaction.id}/cover",
                        TransactionKind.COVER,
                        transaction.id,
                        (account, amount),
                        (owed, -amount),
                    )
                )
        return covers


def accounts_touched(transactions: Iterable[Transaction]) -> set[Account]:
    """Guarded accounts that posting these may read or change: lock them all before making a Book."""
    touched: set[Account] = set()
    for transaction in transactions:
        for entry in transaction.entries:
            account = entry.account
            if account.guarded:
                touched.add(account)
            if account.kind is AccountKind.CUSTOMER:
                touched.add(Account(AccountKind.RECEIVABLE, account.currency, account.owner))
            if account.kind is AccountKind.CLEARING and transaction.kind is TransactionKind.CLAIMED:
                touched.add(Account(AccountKind.PROTOCOL_FEE, account.currency, account.owner))
    return touched
