"""Ledger, usage, settlement and messaging tables.

Revision ID: 0001
"""

from collections.abc import Iterator
from pathlib import Path

from alembic import op
from licet_kit.migrations import messaging_v1

revision = "0001"
down_revision = None


def _statements(name: str) -> Iterator[str]:
    """The statements of a file; the driver takes one at a time. A function's body holds semicolons of its own."""
    statement = ""
    for line in (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines(keepends=True):
        statement += line
        if line.rstrip().endswith(";") and statement.count("$$") % 2 == 0:
            yield statement
            statement = ""


def upgrade() -> None:
    """Creates everything; an empty database has no lock to wait for, and the limit holds all the same."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    messaging_v1(op)
    for name in ("ledger.sql", "usage.sql", "settlement.sql"):
        for statement in _statements(name):
            op.get_bind().exec_driver_sql(statement)
