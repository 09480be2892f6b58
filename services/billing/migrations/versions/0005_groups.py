"""Batches settle groups of lines by authority, and hold what they draw.

Revision ID: 0005
"""

from alembic import op

revision = "0005"
down_revision = "0004"
_DIRECT = "0x" + "00" * 32
_KINDS = (
    "'customer', 'receivable', 'accrued', 'exits', 'holds', 'clearing', 'earnings', 'protocol_fee', 'payouts',"
    " 'operator_loss', 'uncollected'"
)
_ON_CHAIN = (
    "'deposited', 'exit_requested', 'exit_drawn', 'withdrawn', 'item_settled', 'line_settled', 'hold_released',"
    " 'draw_refunded', 'revenue_received', 'distributed', 'claimed'"
)


def upgrade() -> None:
    """All that was charged and settled before was drawn from deposits themselves."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in ("charges", "settlement_items"):
        op.execute(f"ALTER TABLE {table} ADD authority text NOT NULL DEFAULT '{_DIRECT}'")
        op.execute(f"ALTER TABLE {table} ALTER authority DROP DEFAULT")
    for table in ("grants", "charges", "settlement_items"):
        op.execute(f'ALTER TABLE {table} ADD "window" bigint NOT NULL DEFAULT 0')
        op.execute(f'ALTER TABLE {table} ALTER "window" DROP DEFAULT')
    for table in ("grants", "charges"):
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_source_check")
        op.execute(
            f"ALTER TABLE {table} ADD CONSTRAINT {table}_source_check"
            " CHECK (source IN ('license', 'deposit', 'mandate'))"
        )
    op.execute("ALTER TABLE ledger_accounts DROP CONSTRAINT ledger_accounts_kind_check")
    op.execute(
        f"ALTER TABLE ledger_accounts ADD CONSTRAINT ledger_accounts_kind_check CHECK (kind IN ({_KINDS}))"
    )
    op.execute(
        f"ALTER TABLE ledger_transactions ADD CONSTRAINT ledger_transactions_on_chain"
        f" CHECK (kind NOT IN ({_ON_CHAIN}) OR tx_hash IS NOT NULL)"
    )
