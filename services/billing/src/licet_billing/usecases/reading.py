"""What accounts and the operator may read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from licet_schemas import settlement, sumtree
from sqlalchemy.ext.asyncio import AsyncSession

from licet_billing.db import charges as charge_rows
from licet_billing.db import reading as rows
from licet_billing.db import reconciliation as reconciliation_rows
from licet_billing.db import settlement as settlement_rows
from licet_billing.db.reading import AccountFigures, OwnDeposit, TransactionDetails
from licet_billing.db.tables import BatchRow, ChargeRow, ItemRow, ReconciliationRow
from licet_billing.domain.errors import NotFound
from licet_billing.domain.ledger import Account, AccountKind
from licet_billing.domain.settlement import BatchKey, BatchState
from licet_billing.usecases.batches import lines_of, sum_tree

_ON_CHAIN = frozenset({BatchState.INCLUDED, BatchState.FINAL})


@dataclass(frozen=True, slots=True)
class SettledCharge:
    """Where a charge was settled, with the proofs that lead to the batch's root on chain."""

    batch: BatchRow
    item: ItemRow
    steps: Sequence[sumtree.Step]
    line_proof: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class BatchDetails:
    """A batch with what its lines were paid so far; `paid` is None until all of them are posted."""

    row: BatchRow
    items: int
    paid: int | None


@dataclass(frozen=True, slots=True)
class DepositBalance:
    """A deposit as the books have it, in the currency's smallest unit."""

    chain_id: int
    deposit_id: str
    payer: str
    operator: str
    currency: str
    available: int
    owed: int
    unsettled: int
    exiting: int
    provisional: int


async def charges_of(
    session: AsyncSession, account_id: str, *, before: int | None, limit: int
) -> list[tuple[ChargeRow, BatchRow | None]]:
    """An account's charges, newest first, each with its batch."""
    charges = await charge_rows.charges_of(session, account_id, before=before, limit=limit)
    keys = {_batch_key(charge) for charge in charges}
    batches = {key: await settlement_rows.batch_row(session, key) for key in keys if key is not None}
    return [(charge, batches[key] if (key := _batch_key(charge)) else None) for charge in charges]


def _batch_key(charge: ChargeRow) -> BatchKey | None:
    return BatchKey(charge.chain_id, charge.operator, charge.batch) if charge.batch is not None else None


async def charge_with_proof(
    session: AsyncSession, request_id: str, account_id: str
) -> tuple[ChargeRow, SettledCharge | None]:
    """A charge of this account, and its settlement once that is on chain.

    Raises NotFound for any other request id, another account's too: that one exists is nobody else's business.
    """
    charge = await charge_rows.charge(session, request_id, account_id)
    if charge is None:
        raise NotFound(f"request {request_id}")
    key = _batch_key(charge)
    batch = await settlement_rows.batch_row(session, key) if key is not None else None
    if key is None or batch is None or BatchState(batch.state) not in _ON_CHAIN:
        return charge, None
    items = await settlement_rows.items(session, key)
    position, leaf = charge.item or 0, charge.leaf or 0
    tree = sum_tree(await charge_rows.leaves_of_item(session, key, position))
    proof = settlement.batch_tree(lines_of(items)).proof(position)
    return charge, SettledCharge(batch, items[position], tree.proof(leaf), proof)


_DEPOSIT_KINDS = (AccountKind.CUSTOMER, AccountKind.RECEIVABLE, AccountKind.ACCRUED, AccountKind.EXITS)


async def deposits_of(
    session: AsyncSession, wallets: Collection[str], operator: str, chain_ids: Collection[int]
) -> list[DepositBalance]:
    """Deposits of these wallets with this operator that the books know.

    A fixed number of queries over the wallets' own deposits: how many others there are, and in how many tokens,
    is for anybody to choose.
    """
    own = await rows.own_deposits(session, wallets, operator, chain_ids)
    accounts = [Account(kind, of.currency, of.deposit_id) for of in own for kind in _DEPOSIT_KINDS]
    balances = await rows.guarded_balances(session, accounts)
    customers = [account.id for account in accounts if account.kind is AccountKind.CUSTOMER]
    provisional = await rows.pending_deposits(session, customers)
    found = [_deposit(of, operator, balances, provisional) for of in own]
    return [deposit for deposit in found if deposit is not None]


def _deposit(
    of: OwnDeposit, operator: str, balances: Mapping[str, int], provisional: Mapping[str, int]
) -> DepositBalance | None:
    ids = [Account(kind, of.currency, of.deposit_id).id for kind in _DEPOSIT_KINDS]
    if not any(id_ in balances for id_ in ids):
        return None
    available, owed, unsettled, exiting = (balances.get(id_, 0) for id_ in ids)
    return DepositBalance(
        chain_id=of.currency.chain_id,
        deposit_id=of.deposit_id,
        payer=of.payer,
        operator=operator,
        currency=of.currency.token,
        available=available,
        owed=owed,
        unsettled=unsettled,
        exiting=exiting,
        provisional=provisional.get(ids[0], 0),
    )


async def batches(
    session: AsyncSession, operator: str, *, after: tuple[int, int] | None, limit: int
) -> list[BatchDetails]:
    """Batches of the operator, newest first within each chain."""
    found = await settlement_rows.list_batches(session, operator, after=after, limit=limit)
    return [await batch_details(session, row) for row in found]


async def batch(session: AsyncSession, key: BatchKey) -> BatchDetails:
    """One batch. Raises NotFound."""
    row = await settlement_rows.batch_row(session, key)
    if row is None:
        raise NotFound(f"batch {key.number}")
    return await batch_details(session, row)


async def batch_details(session: AsyncSession, row: BatchRow) -> BatchDetails:
    """A batch with the sums of its lines."""
    status = await settlement_rows.status(session, row)
    return BatchDetails(row, status.items, status.paid)


async def batch_document(session: AsyncSession, digest: str) -> bytes:
    """The document whose sha256 a batch's data URI names. Raises NotFound."""
    body = await settlement_rows.content(session, digest)
    if body is None:
        raise NotFound(f"batch document {digest}")
    return body


async def ledger_accounts(session: AsyncSession, *, after: str, limit: int) -> list[AccountFigures]:
    """Accounts with their posted sums, by id."""
    return await rows.accounts(session, after=after, limit=limit)


async def ledger_transactions(
    session: AsyncSession, *, before: int | None, limit: int
) -> list[TransactionDetails]:
    """Transactions with their legs, newest first."""
    return await rows.transactions(session, before=before, limit=limit)


async def latest_reconciliations(
    session: AsyncSession, chain_ids: Collection[int]
) -> list[ReconciliationRow]:
    """The newest result of each chain that has one."""
    found = [await reconciliation_rows.latest(session, chain_id) for chain_id in chain_ids]
    return [row for row in found if row is not None]
