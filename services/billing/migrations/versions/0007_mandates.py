"""What is used by a mandate is owed as what is used of a deposit is.

Revision ID: 0007
"""

from alembic import op

revision = "0007"
down_revision = "0006"
_BILLED = "amount = CASE WHEN disposition = 'billed' AND source <> 'license' THEN value ELSE 0 END"
_PAID_BY = "(source <> 'license') = (deposit_id <> '')"


def upgrade() -> None:
    """The same two checks, which knew of deposits alone."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    for name, check in (("charges_check", _BILLED), ("charges_check1", _PAID_BY)):
        op.execute(f"ALTER TABLE charges DROP CONSTRAINT {name}, ADD CONSTRAINT {name} CHECK ({check})")
