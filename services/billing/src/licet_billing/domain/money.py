"""What each on-chain money event and each charge means in the ledger: one event, one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from licet_billing.domain.ledger import Account, AccountKind, Currency, Transaction, TransactionKind, move
from licet_billing.domain.usage import Charge, Disposition


@dataclass(frozen=True, slots=True)
class ChainPosition:
    """Where a log stands, in which truth: `incarnation` counts how often its block became canonical.

    `line` tells the lines of one log apart.
    """

    chain_id: int
    block_number: int
    block_hash: str
    log_index: int
    incarnation: int
    tx_hash: str
    contract: str
    line: int | None = None

    @property
    def id(self) -> str:
        """Id of what follows from this log, or from a line of it, in this truth."""
        return f"chain:{self.chain_id}:{self.block_hash}:{self.log_index}:{self.incarnation}{self._line}"

    @property
    def place(self) -> str:
        """Where it stands, whatever its truth: block hash, log and line."""
        return f"{self.block_hash}:{self.log_index}{self._line}"

    @property
    def _line(self) -> str:
        return "" if self.line is None else f"/{self.line}"


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
class LineSettled:
    """One line of a batch was settled; `paid` is at most `due`, and is held for the asset."""

    deposit_id: str
    operator: str
    token: str
    batch: int
    index: int
    asset_id: str
    authority: str
    window: int
    due: int
    paid: int
    records: int


@dataclass(frozen=True, slots=True)
class HoldReleased:
    """What was held for an asset of a batch left the escrow for the router."""

    operator: str
    token: str
    batch: int
    asset_id: str
    amount: int


@dataclass(frozen=True, slots=True)
class DrawRefunded:
    """What a line drew left the escrow for its payer's wallet."""

    operator: str
    token: str
    batch: int
    asset_id: str
    index: int
    amount: int


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


DepositEvent = Deposited | ExitRequested | ExitDrawn | Withdrawn | LineSettled
HoldEvent = HoldReleased | DrawRefunded
EscrowEvent = DepositEvent | HoldEvent
RouterEvent = RevenueReceived | Distributed | Claimed
MoneyEvent = EscrowEvent | RouterEvent


def moves_money(event: MoneyEvent) -> bool:
    """Whether there is anything to book: an exit that settlements drained pays out 0."""
    return (event.due if isinstance(event, LineSettled) else event.amount) > 0


def transaction_of(position: ChainPosition, event: MoneyEvent) -> Transaction:
    """The ledger transaction of a money event. Its id is the position's, so that a log is booked once."""
    currency = Currency(position.chain_id, event.token)
    contract = Account(AccountKind.CLEARING, currency, position.contract)
    if isinstance(event, RevenueReceived | Distributed | Claimed):
        return _router_transaction(position.id, event, currency, contract)
    if isinstance(event, HoldReleased | DrawRefunded):
        return _hold_transaction(position.id, event, contract)
    return _escrow_transaction(position.id, event, currency, contract)


def hold_account(currency: Currency, event: LineSettled | HoldEvent) -> Account:
    """Where a batch's draws for an asset wait."""
    return Account(AccountKind.HOLDS, currency, f"{event.operator}/{event.batch}/{event.asset_id}")


def _hold_transaction(id_: str, event: HoldEvent, escrow: Account) -> Transaction:
    hold = hold_account(escrow.currency, event)
    is_release = isinstance(event, HoldReleased)
    kind = TransactionKind.HOLD_RELEASED if is_release else TransactionKind.DRAW_REFUNDED
    return move(id_, kind, id_, (hold, event.amount), (escrow, -event.amount))


def _escrow_transaction(id_: str, event: DepositEvent, currency: Currency, escrow: Account) -> Transaction:
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
        case LineSettled():
            return _line_settled(id_, event, customer)
        case _:
            assert_never(event)


def _line_settled(id_: str, event: LineSettled, customer: Account) -> Transaction:
    """What was paid is held; what was not goes back to the customer's position and is operator loss."""
    currency = customer.currency
    shortfall = event.due - event.paid
    return move(
        id_,
        TransactionKind.LINE_SETTLED,
        id_,
        (Account(AccountKind.ACCRUED, currency, event.deposit_id), event.due),
        (hold_account(currency, event), -event.paid),
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
