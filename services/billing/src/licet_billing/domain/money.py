"""What each on-chain money event and each charge means in the ledger: one event, one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from licet_billing.domain.ledger import Account, AccountKind, Currency, Transaction, TransactionKind, move
from licet_billing.domain.usage import Charge, Disposition


@dataclass(frozen=True, slots=True)
class ChainPosition:
    """Where a log stands, in which truth: `incarnation` counts how often its block became canonical."""

    chain_id: int
    block_number: int
    block_hash: str
    log_index: int
    incarnation: int
    tx_hash: str
    contract: str

    @property
    def id(self) -> str:
        """Id of what follows from this log in this truth."""
        return f"chain:{self.chain_id}:{self.block_hash}:{self.log_index}:{self.incarnation}"


@dataclass(frozen=True, slots=True)
class Deposited:
    """A payer's money came into the escrow."""

    deposit_id: str
    operator: str
    token: str
    amount: int


@dataclass(frozen=True, slots=True)
class ExitRequested:
    """Money left the spendable balance and waits."""

    deposit_id: str
    operator: str
    token: str
    amount: int


@dataclass(frozen=True, slots=True)
class ExitDrawn:
    """A settlement took from money that waits."""

    deposit_id: str
    operator: str
    token: str
    amount: int


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Money that waited was paid out; 0 where settlements had drawn all of it."""

    deposit_id: str
    operator: str
    token: str
    amount: int


@dataclass(frozen=True, slots=True)
class ItemSettled:
    """One line of a batch was settled; `paid` is at most `due`."""

    deposit_id: str
    operator: str
    token: str
    batch: int
    index: int
    asset_id: str
    due: int
    paid: int
    payer_root: str


@dataclass(frozen=True, slots=True)
class RevenueReceived:
    """Money came in for an asset: from a sale or from usage, or as royalty out of the earnings of `from_asset`."""

    asset_id: str
    token: str
    amount: int
    from_asset: str = ""


@dataclass(frozen=True, slots=True)
class Distributed:
    """An asset's revenue became claimable: `amount = fee + payee_amount`."""

    asset_id: str
    token: str
    amount: int
    fee: int
    payee: str
    payee_amount: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """An earner took out what was claimable."""

    account: str
    token: str
    amount: int


EscrowEvent = Deposited | ExitRequested | ExitDrawn | Withdrawn | ItemSettled
RouterEvent = RevenueReceived | Distributed | Claimed
MoneyEvent = EscrowEvent | RouterEvent


def moves_money(event: MoneyEvent) -> bool:
    """Whether there is anything to book: an exit that settlements drained pays out 0."""
    return (event.due if isinstance(event, ItemSettled) else event.amount) > 0


def transaction_of(position: ChainPosition, event: MoneyEvent) -> Transaction:
    """The ledger transaction of a money event. Its id is the position's, so that a log is booked once."""
    currency = Currency(position.chain_id, event.token)
    contract = Account(AccountKind.CLEARING, currency, position.contract)
    if isinstance(event, RevenueReceived | Distributed | Claimed):
        return _router_transaction(position.id, event, currency, contract)
    return _escrow_transaction(position.id, event, currency, contract)


def _escrow_transaction(id_: str, event: EscrowEvent, currency: Currency, escrow: Account) -> Transaction:
    customer = Account(AccountKind.CUSTOMER, currency, event.deposit_id)
    exits = Account(AccountKind.EXITS, currency, event.deposit_id)
    match event:
        case Deposited(amount=amount):
            return move(id_, TransactionKind.DEPOSITED, id_, (escrow, amount), (customer, -amount))
        case ExitRequested(amount=amount):
            return move(id_, TransactionKind.EXIT_REQUESTED, id_, (customer, amount), (exits, -amount))
        case ExitDrawn(amount=amount):
            return move(id_, TransactionKind.EXIT_DRAWN, id_, (exits, amount), (customer, -amount))
        case Withdrawn(amount=amount):
            return move(id_, TransactionKind.WITHDRAWN, id_, (exits, amount), (escrow, -amount))
        case ItemSettled():
            return _item_settled(id_, event, customer, escrow)
        case _:
            assert_never(event)


def _item_settled(id_: str, event: ItemSettled, customer: Account, escrow: Account) -> Transaction:
    """What was paid leaves the escrow; what was not goes back to the customer's position and is operator loss."""
    currency = customer.currency
    shortfall = event.due - event.paid
    return move(
        id_,
        TransactionKind.ITEM_SETTLED,
        id_,
        (Account(AccountKind.ACCRUED, currency, event.deposit_id), event.due),
        (escrow, -event.paid),
        (customer, -shortfall),
        (Account(AccountKind.OPERATOR_LOSS, currency, event.operator), shortfall),
        (Account(AccountKind.UNCOLLECTED, currency, event.operator), -shortfall),
    )


def _router_transaction(id_: str, event: RouterEvent, currency: Currency, router: Account) -> Transaction:
    match event:
        case RevenueReceived(asset_id=asset_id, amount=amount, from_asset=child):
            earnings = Account(AccountKind.EARNINGS, currency, asset_id)
            source = Account(AccountKind.EARNINGS, currency, child) if child else router
            return move(id_, TransactionKind.REVENUE_RECEIVED, id_, (source, amount), (earnings, -amount))
        case Distributed():
            return move(
                id_,
                TransactionKind.DISTRIBUTED,
                id_,
                (Account(AccountKind.EARNINGS, currency, event.asset_id), event.amount),
                (Account(AccountKind.PROTOCOL_FEE, currency, router.owner), -event.fee),
                (Account(AccountKind.PAYOUTS, currency, event.payee), -event.payee_amount),
            )
        case Claimed(account=account, amount=amount):
            payouts = Account(AccountKind.PAYOUTS, currency, account)
            return move(id_, TransactionKind.CLAIMED, id_, (payouts, amount), (router, -amount))
        case _:
            assert_never(event)


def charge_transaction(charge: Charge) -> Transaction | None:
    """The transaction of a charge: billed, or booked as operator loss. None where it has no value."""
    currency = Currency(charge.chain_id, charge.currency)
    request_id = charge.request_id
    if charge.disposition is Disposition.BILLED:
        customer = Account(AccountKind.CUSTOMER, currency, charge.deposit_id)
        accrued = Account(AccountKind.ACCRUED, currency, charge.deposit_id)
        legs = ((customer, charge.amount), (accrued, -charge.amount))
        return (
            move(f"charge:{request_id}", TransactionKind.CHARGE, request_id, *legs) if charge.amount else None
        )
    loss = Account(AccountKind.OPERATOR_LOSS, currency, charge.operator)
    uncollected = Account(AccountKind.UNCOLLECTED, currency, charge.operator)
    legs = ((loss, charge.value), (uncollected, -charge.value))
    return move(f"loss:{request_id}", TransactionKind.LOSS, request_id, *legs) if charge.value else None
