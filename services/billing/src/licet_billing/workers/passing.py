"""Which errors a worker waits out: something is away, or somebody else was faster."""

from __future__ import annotations

from typing import Final

import asyncpg
from licet_kit.errors import RetryableError
from licet_kit.kafka import Fate, fate_of
from sqlalchemy.exc import SQLAlchemyError

# What may turn out to be passing; `passes` decides.
SUSPECTS: Final = (RetryableError, OSError, SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError)


def passes(error: Exception) -> bool:
    """Whether trying again later is the answer; anything else is a fault, and ends the process."""
    return isinstance(error, RetryableError) or fate_of(error) is Fate.WAIT
