"""Money rules of the ledger, against a model of the contracts that knows nothing of accounts."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licet_billing.domain.errors import Overdraft, Unbalanced
from licet_billing.domain.ledger import (
    Account,
    AccountKind,
    Book,
    Currency,
    Transaction,
    TransactionKind,
    move,
    reversal,
)
from licet_billing.domain.money import (
    ChainPosition,
    Claimed,
    Deposited,
    Distributed,
    DrawRefunded,
    ExitDrawn,
    ExitRequested,
    HoldReleased,
    LineSettled,
    MoneyEvent,
    RevenueReceived,
    Withdrawn,
    charge_transaction,
    transaction_of,
)
from licet_billing.domain.usage import DIRECT, Charge, Disposition, Source

TOKEN, ESCROW, ROUTER = "0x" + "11" * 20, "0x" + "22" * 20, "0x" + "33" * 20
OPERATOR, OWNER, TREASURY = "0x" + "44" * 20, "0x" + "55" * 20, "0x" + "66" * 20
DEPOSIT, ASSET = "0x" + "dd" * 32, "0x" + "aa" * 32
USD = Currency(31337, TOKEN)


def account(kind: AccountKind, owner: str = DEPOSIT) -> Account:
    return Account(kind, USD, owner)


def position(number: int, contract: str) -> ChainPosition:
    return ChainPosition(31337, number, f"0x{number:064x}", 0, 1, f"0x{number:064x}", contract)


def charge(number: int, value: int, disposition: Disposition = Disposition.BILLED) -> Charge:
    return Charge(
        request_id=f"lease-{number}",
        source=Source.DEPOSIT,
        chain_id=31337,
        operator=OPERATOR,
        payer=OWNER,
        deposit_id=DEPOSIT,
        currency=TOKEN,
        units=1,
        unit_price=value,
        value=value,
        amount=value if disposition is Disposition.BILLED else 0,
        disposition=disposition,
    )


@dataclass
class Chain:
    """One deposit, one asset, as UsageEscrow and RevenueRouter keep them, and the events they emit."""

    spendable: int = 0
    drawn: int = 0
    exits: list[int] = field(default_factory=list)
    held: dict[int, int] = field(default_factory=dict)
    pending: int = 0
    claimable: dict[str, int] = field(default_factory=dict)

    def deposit(self, amount: int) -> list[tuple[str, MoneyEvent]]:
        self.spendable += amount
        return [(ESCROW, Deposited(DEPOSIT, OPERATOR, TOKEN, amount))]

    def request_exit(self, amount: int) -> list[tuple[str, MoneyEvent]]:
        amount = min(amount, self.spendable)
        if amount == 0 or len(self.exits) == 4:
            return []
        self.spendable -= amount
        self.exits.append(amount)
        return [(ESCROW, ExitRequested(DEPOSIT, OPERATOR, TOKEN, amount))]

    def withdraw(self) -> list[tuple[str, MoneyEvent]]:
        if not self.exits:
            return []
        amount = self.exits.pop(0)
        return [(ESCROW, Withdrawn(DEPOSIT, OPERATOR, TOKEN, amount))] if amount else []

    def settle(self, batch: int, due: int) -> list[tuple[str, MoneyEvent]]:
        """Spendable first, then the exits, newest first."""
        events: list[tuple[str, MoneyEvent]] = []
        paid = min(due, self.spendable)
        self.spendable -= paid
        for i in reversed(range(len(self.exits))):
            taken = min(due - paid, self.exits[i])
            if taken:
                self.exits[i] -= taken
                paid += taken
                events.append((ESCROW, ExitDrawn(DEPOSIT, OPERATOR, TOKEN, taken)))
        self.drawn += paid
        if paid:
            self.held[batch] = paid
        line = LineSettled(DEPOSIT, OPERATOR, TOKEN, batch, 0, ASSET, DIRECT, 0, due, paid, 1)
        return [*events, (ESCROW, line)]

    def release(self) -> list[tuple[str, MoneyEvent]]:
        if not self.held:
            return []
        batch, amount = self.held.popitem()
        self.pending += amount
        released = HoldReleased(OPERATOR, TOKEN, batch, ASSET, amount)
        return [(ESCROW, released), (ROUTER, RevenueReceived(ASSET, TOKEN, amount))]

    def refund(self) -> list[tuple[str, MoneyEvent]]:
        if not self.held:
            return []
        batch, amount = self.held.popitem()
        return [(ESCROW, DrawRefunded(OPERATOR, TOKEN, batch, ASSET, 0, amount))]

    def distribute(self) -> list[tuple[str, MoneyEvent]]:
        if not self.pending:
            return []
        amount, self.pending = self.pending, 0
        fee = amount * 500 // 10_000
        for who, what in ((TREASURY, fee), (OWNER, amount - fee)):
            self.claimable[who] = self.claimable.get(who, 0) + what
        return [(ROUTER, Distributed(ASSET, TOKEN, amount, fee, OWNER, amount - fee))]

    def claim(self, who: str) -> list[tuple[str, MoneyEvent]]:
        amount = self.claimable.pop(who, 0)
        return [(ROUTER, Claimed(who, TOKEN, amount))] if amount else []


@dataclass
class Story:
    """Drives the chain model and the ledger with the same steps."""

    chain: Chain = field(default_factory=Chain)
    book: Book = field(default_factory=lambda: Book({}, {31337: TREASURY}))
    events: int = 0
    charges: int = 0
    due: int = 0
    batches: int = 0
    lost: int = 0

    def step(self, name: str, amount: int) -> None:
        if name == "charge":
            self.charges += 1
            self.due += amount
            made = charge_transaction(charge(self.charges, amount))
            assert made is not None
            self.book.post(made)
            return
        if name == "settle":
            if not self.due:
                return
            self.batches += 1
            happened = self.chain.settle(self.batches, self.due)
            settled = happened[-1][1]
            assert isinstance(settled, LineSettled)
            self.lost += settled.due - settled.paid
            self.due = 0
        else:
            happened = self.on_chain(name, amount)
        for contract, event in happened:
            self.events += 1
            self.book.post(transaction_of(position(self.events, contract), event))

    def on_chain(self, name: str, amount: int) -> list[tuple[str, MoneyEvent]]:
        match name:
            case "deposit":
                return self.chain.deposit(amount)
            case "exit":
                return self.chain.request_exit(amount)
            case "withdraw":
                return self.chain.withdraw()
            case "release":
                return self.chain.release()
            case "refund":
                return self.chain.refund()
            case "distribute":
                return self.chain.distribute()
            case "claim-owner":
                return self.chain.claim(OWNER)
            case _:
                return self.chain.claim(TREASURY)


STEPS = ["charge", "settle", "deposit", "exit", "withdraw", "release", "refund"]
STEPS += ["distribute", "claim-owner", "claim-treasury"]
stories = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(1, 10**30)), max_size=40)


def hold(batch: int) -> Account:
    return account(AccountKind.HOLDS, f"{OPERATOR}/{batch}/{ASSET}")


def unguarded(book: Book, kind: AccountKind, owner: str) -> int:
    wanted = account(kind, owner)
    return sum(e.amount for made in book.posted for e in made.entries if e.account == wanted) * wanted.normal


@given(stories)
def test_ledger_says_what_the_contracts_say_after_every_step(steps: list[tuple[str, int]]) -> None:
    story = Story()
    for name, amount in steps:
        story.step(name, amount)
        book, chain = story.book, story.chain
        customer = book.balance(account(AccountKind.CUSTOMER))
        receivable = book.balance(account(AccountKind.RECEIVABLE))
        accrued = book.balance(account(AccountKind.ACCRUED))
        assert customer - receivable + accrued == chain.spendable
        assert min(customer, receivable) == 0
        assert accrued == story.due
        assert book.balance(account(AccountKind.EXITS)) == sum(chain.exits)
        held = sum(chain.held.values())
        assert unguarded(book, AccountKind.CLEARING, ESCROW) == chain.spendable + sum(chain.exits) + held
        holds = {hold(batch): amount for batch, amount in chain.held.items()}
        assert {key: book.balance(key) for key in holds} == holds
        assert book.balance(account(AccountKind.EARNINGS, ASSET)) == chain.pending
        assert book.balance(account(AccountKind.PAYOUTS, OWNER)) == chain.claimable.get(OWNER, 0)
        fees = book.balance(account(AccountKind.PROTOCOL_FEE, ROUTER))
        assert fees + book.balance(account(AccountKind.PAYOUTS, TREASURY)) == chain.claimable.get(TREASURY, 0)
        assert unguarded(book, AccountKind.OPERATOR_LOSS, OPERATOR) == story.lost
        assert unguarded(book, AccountKind.CLEARING, ROUTER) == chain.pending + sum(chain.claimable.values())


@given(stories)
def test_debits_equal_credits_and_no_guarded_account_is_ever_negative(steps: list[tuple[str, int]]) -> None:
    story = Story()
    for name, amount in steps:
        story.step(name, amount)
    balances: dict[Account, int] = {}
    for made in story.book.posted:
        assert sum(entry.amount for entry in made.entries) == 0
        for entry in made.entries:
            balances[entry.account] = balances.get(entry.account, 0) + entry.amount * entry.account.normal
        assert all(balance >= 0 for key, balance in balances.items() if key.guarded)
    assert sum(balance * key.normal for key, balance in balances.items()) == 0


@given(stories)
def test_reversing_every_event_from_the_newest_leaves_only_the_charges(steps: list[tuple[str, int]]) -> None:
    story = Story()
    for name, amount in steps:
        story.step(name, amount)
    internal = {TransactionKind.CHARGE, TransactionKind.ADVANCE, TransactionKind.COVER}
    for made in reversed([made for made in story.book.posted if made.kind not in internal]):
        story.book.post(reversal(made))
    owed = story.book.balance(account(AccountKind.RECEIVABLE))
    assert owed == story.book.balance(account(AccountKind.ACCRUED))
    assert story.book.balance(account(AccountKind.CUSTOMER)) == 0
    assert story.book.balance(account(AccountKind.EXITS)) == 0
    assert unguarded(story.book, AccountKind.CLEARING, ESCROW) == 0
    assert unguarded(story.book, AccountKind.CLEARING, ROUTER) == 0


@given(st.integers(1, 2**128), st.integers(1, 2**128))
def test_loss_is_shown_and_touches_no_customer(value: int, other: int) -> None:
    book = Book({})
    for number, (amount, why) in enumerate([(value, Disposition.FENCED), (other, Disposition.UNCOVERED)]):
        made = charge_transaction(charge(number, amount, why))
        assert made is not None
        book.post(made)
    assert unguarded(book, AccountKind.OPERATOR_LOSS, OPERATOR) == value + other
    assert book.balance(account(AccountKind.CUSTOMER)) == 0
    assert book.balance(account(AccountKind.RECEIVABLE)) == 0


@pytest.mark.parametrize(("debit", "credit"), [(5, -4), (0, 0), (-3, 2)], ids=["short", "zero", "negative"])
def test_unbalanced_transaction_cannot_be_made(debit: int, credit: int) -> None:
    legs = ((account(AccountKind.CUSTOMER), debit), (account(AccountKind.ACCRUED), credit))
    with pytest.raises(Unbalanced):
        move("x", TransactionKind.CHARGE, "x", *legs)


def test_transaction_of_two_currencies_cannot_be_made() -> None:
    other = Account(AccountKind.ACCRUED, Currency(1, TOKEN), DEPOSIT)
    with pytest.raises(Unbalanced):
        move("x", TransactionKind.CHARGE, "x", (account(AccountKind.CUSTOMER), 1), (other, -1))


def test_claim_beyond_payouts_is_refused_for_anybody_but_the_treasury() -> None:
    book = Book({account(AccountKind.PROTOCOL_FEE, ROUTER): 10}, {31337: TREASURY})
    with pytest.raises(Overdraft):
        book.post(transaction_of(position(1, ROUTER), Claimed(OWNER, TOKEN, 5)))
    assert book.posted == []
    book.post(transaction_of(position(2, ROUTER), Claimed(TREASURY, TOKEN, 5)))
    assert book.balance(account(AccountKind.PROTOCOL_FEE, ROUTER)) == 5


def test_advance_and_cover_name_their_cause() -> None:
    book = Book({})
    first = charge_transaction(charge(1, 7))
    assert first is not None
    book.post(first)
    book.post(transaction_of(position(1, ESCROW), Deposited(DEPOSIT, OPERATOR, TOKEN, 10)))
    made: list[Transaction] = book.posted
    assert [
        (t.kind, t.cause) for t in made if t.kind in {TransactionKind.ADVANCE, TransactionKind.COVER}
    ] == [
        (TransactionKind.ADVANCE, "charge:lease-1"),
        (TransactionKind.COVER, position(1, ESCROW).id),
    ]
    assert book.balance(account(AccountKind.CUSTOMER)) == 3
