"""What a plan limits, and its trial.

Revision ID: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"
_COLUMNS = {
    "supply": "NUMERIC(78, 0)",
    "per_recipient": "BIGINT",
    "trial_period_s": "NUMERIC(78, 0)",
    "trial_units": "NUMERIC(78, 0)",
    "seats": "BIGINT",
}


def upgrade() -> None:
    """Adds the columns; a plan of before has no limit and no trial."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    for name, kind in _COLUMNS.items():
        op.execute(f"ALTER TABLE plan ADD COLUMN {name} {kind} NOT NULL DEFAULT 0")
        op.execute(f"ALTER TABLE plan ALTER COLUMN {name} DROP DEFAULT")
