"""What becomes of a message whose handler raised: one table for every consumer."""

from enum import Enum, auto
from typing import ClassVar

import asyncpg
from aiokafka.errors import KafkaError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from licet_kit.errors import LicetError, PermanentError, Unavailable

# SQLSTATE classes (PostgreSQL, appendix A) of a server or schema that is not ready for us: no message is at fault.
_NOT_READY = frozenset({"08", "25", "28", "3D", "42", "53", "57", "58", "XX"})
# query_canceled: our own statement timeout; the statement may be what is wrong.
_QUERY_CANCELED = "57014"


class Fate(Enum):
    """What the consumer does with the message."""

    # Try again a few times, then quarantine.
    RETRY = auto()
    # Quarantine the key; somebody has to look.
    QUARANTINE = auto()
    # Quarantine the key until its parent arrives; tried again by itself.
    PARK = auto()
    # Nothing is wrong with the message: wait, for ever if need be.
    WAIT = auto()


class ParkKey(LicetError):
    """What this message builds on has not arrived yet; its key waits, in order, and is tried again."""

    code: ClassVar[str] = "parent_missing"


def fate_of(error: Exception) -> Fate:
    """Return the fate that an error asks for. Unexpected errors count as retryable, and end in quarantine."""
    match error:
        case ParkKey():
            return Fate.PARK
        case PermanentError():
            return Fate.QUARANTINE
        case Unavailable() | KafkaError() | OSError() | TimeoutError() | asyncpg.InterfaceError():
            return Fate.WAIT
        case DBAPIError() | asyncpg.PostgresError():
            return _fate_of_state(sqlstate(error))
        case SQLAlchemyError() if error.code == _POOL_TIMEOUT:
            return Fate.WAIT
        case _:
            return Fate.RETRY


def reason_of(error: Exception) -> str:
    """Return the stable reason for a quarantine: the error's code, or the name of its class."""
    return error.code if isinstance(error, LicetError) else type(error).__name__


def sqlstate(error: Exception) -> str | None:
    """Return the SQLSTATE of a database error; None when the connection broke before there was one."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(origin, "sqlstate", None)
    return state if isinstance(state, str) else None


# SQLAlchemy's stable error number of "no connection of the pool became free".
_POOL_TIMEOUT = "3o7r"


def _fate_of_state(state: str | None) -> Fate:
    if state is None:
        return Fate.WAIT
    if state == _QUERY_CANCELED:
        return Fate.RETRY
    return Fate.WAIT if state[:2] in _NOT_READY else Fate.RETRY
