"""Messaging, and a table of amounts."""

import sqlalchemy as sa
from alembic import op
from licet_kit.migrations import messaging_v1

revision = "0001"
down_revision = None


def upgrade() -> None:
    messaging_v1(op)
    op.create_table(
        "amount",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("value", sa.Numeric(78, 0), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_amount"),
    )
