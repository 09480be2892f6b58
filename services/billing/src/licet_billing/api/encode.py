"""Rows to bodies."""

from __future__ import annotations

from dataclasses import asdict

from licet_schemas.licet.usage.v1.usage_pb2 import UsageRecorded

from licet_billing import events
from licet_billing.api import shapes
from licet_billing.db.reading import AccountFigures, TransactionDetails
from licet_billing.db.tables import BatchRow, ChargeRow, ReconciliationRow
from licet_billing.domain.settlement import BatchState, Stuck
from licet_billing.domain.usage import Disposition
from licet_billing.usecases.reading import BatchDetails, DepositBalance, SettledCharge


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def charge_state(charge: ChargeRow, batch: BatchRow | None) -> str:
    """What has become of a charge, in one word."""
    if charge.disposition != Disposition.BILLED:
        return "operator_loss"
    if charge.units == 0:
        return "not_charged"
    if charge.amount == 0:
        return "included"
    if batch is None:
        return "unsettled"
    return "settled" if batch.state == BatchState.FINAL else "settling"


def charge(row: ChargeRow, batch: BatchRow | None) -> shapes.ChargeBody:
    """One line of the usage list."""
    return shapes.ChargeBody(
        request_id=row.request_id,
        asset_id=row.asset_id,
        plan_id=row.plan_id,
        grant_id=row.grant_id,
        source=row.source,
        units=str(row.units),
        unit_price=str(row.unit_price),
        amount=str(row.amount),
        currency=row.currency,
        state=charge_state(row, batch),
        outcome=row.outcome,
        started_at=row.started_at,
        ended_at=row.ended_at,
        batch=row.batch,
        tx_hash=batch.tx_hash if batch else None,
    )


def receipt(row: ChargeRow, settled: SettledCharge | None, escrow: str) -> shapes.ReceiptBody:
    """A receipt with all its proofs."""
    message = UsageRecorded.FromString(row.record)
    record = events.usage_record(message)
    fields = {
        name: _hex(value) if isinstance(value, bytes) else value
        for name, value in asdict(events.receipt(record)).items()
    }
    final = settled is not None and settled.batch.state == BatchState.FINAL
    return shapes.ReceiptBody(
        request_id=row.request_id,
        state="settled" if final else "signed",
        chain_id=row.chain_id,
        escrow=escrow,
        receipt=shapes.ReceiptFields.model_validate(fields),
        segment=_segment(message),
        charge=shapes.ChargeLeaf(
            amount=str(row.amount), currency=row.currency, payer=row.payer, salt=_hex(row.salt)
        ),
        disposition=row.disposition,
        settlement=_proof(settled) if settled else None,
    )


def _segment(message: UsageRecorded) -> shapes.SegmentBody:
    segment = events.signed_segment(message)
    return shapes.SegmentBody(
        root=_hex(segment.root),
        receipts=segment.receipts,
        path=[_hex(sibling) for sibling in segment.path],
        signature=_hex(segment.signature),
        certificate=shapes.CertificateBody(
            operator=segment.operator,
            replica=segment.replica,
            valid_from=segment.valid_from,
            valid_until=segment.valid_until,
            signature=_hex(segment.certificate_signature),
        ),
    )


def _proof(settled: SettledCharge) -> shapes.SettlementProof:
    item = settled.item
    return shapes.SettlementProof(
        operator=settled.batch.operator,
        batch=settled.batch.number,
        tx_hash=settled.batch.tx_hash,
        state=settled.batch.state,
        line=shapes.LineBody(
            index=item.position,
            asset_id=item.asset_id,
            token=item.currency,
            payer=item.payer,
            authority=item.authority,
            window=item.window,
            amount=str(item.amount),
            payer_root=item.payer_root,
            records=item.records,
        ),
        steps=[shapes.StepBody(hash=_hex(s.hash), sum=str(s.sum), left=s.left) for s in settled.steps],
        line_proof=[_hex(sibling) for sibling in settled.line_proof],
    )


def deposit(balance: DepositBalance) -> shapes.DepositBody:
    """One deposit of the caller."""
    figures = {name: value if name == "chain_id" else str(value) for name, value in asdict(balance).items()}
    return shapes.DepositBody.model_validate(figures)


def batch(details: BatchDetails) -> shapes.BatchBody:
    """A batch for the operator."""
    row = details.row
    return shapes.BatchBody(
        chain_id=row.chain_id,
        operator=row.operator,
        batch=row.number,
        state=row.state,
        root=row.root,
        data_uri=f"licet:batch:{row.digest}",
        due=str(row.due),
        paid=None if details.paid is None else str(details.paid),
        items=details.items,
        charges=row.charges,
        tx_hash=row.tx_hash,
        block_number=row.block_number,
        last_error=row.last_error,
        created_at=row.created_at,
        changed_at=row.changed_at,
    )


def stuck(charge: Stuck) -> shapes.StuckBody:
    """A charge above its cap, for the operator."""
    return shapes.StuckBody(
        chain_id=charge.chain_id,
        currency=charge.currency,
        request_id=charge.request_id,
        amount=str(charge.amount),
        cap=str(charge.cap),
    )


def transaction(details: TransactionDetails) -> shapes.TransactionBody:
    """A ledger transaction for the operator."""
    entries = [
        shapes.LegBody(
            account=leg.account, side="debit" if leg.amount > 0 else "credit", amount=str(abs(leg.amount))
        )
        for leg in details.legs
    ]
    fields = {
        name: getattr(details, name) for name in shapes.TransactionBody.model_fields if name != "entries"
    }
    return shapes.TransactionBody(**fields, entries=entries)


def account(figures: AccountFigures) -> shapes.AccountBody:
    """A ledger account for the operator."""
    amounts = {name: str(getattr(figures, name)) for name in ("debits", "credits", "balance")}
    return shapes.AccountBody.model_validate(asdict(figures) | amounts)


def reconciliation(rows: list[ReconciliationRow]) -> shapes.ReconciliationBody:
    """Results of all chains as one."""
    return shapes.ReconciliationBody(
        exact=all(row.exact for row in rows),
        chains=[
            shapes.ChainReconciliation(
                id=row.id,
                chain_id=row.chain_id,
                block_number=row.block_number,
                exact=row.exact,
                counts=row.counts,
            )
            for row in rows
        ],
        differences=[
            shapes.DifferenceBody(chain_id=row.chain_id, **difference)
            for row in rows
            for difference in row.differences
        ],
    )
