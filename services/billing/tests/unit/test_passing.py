"""What a worker waits out, and what ends it."""

from __future__ import annotations

import pytest
from licet_billing.clients.node import NodeUnavailable
from licet_billing.domain.errors import Overdraft, SenderFenced
from licet_billing.workers.passing import SUSPECTS, passes
from sqlalchemy.exc import DBAPIError, IntegrityError


class Starting(Exception):
    """The server's "the database system is starting up"."""

    sqlstate = "57P03"


class Unique(Exception):
    """A constraint."""

    sqlstate = "23505"


@pytest.mark.parametrize(
    ("error", "waited_out"),
    [
        (NodeUnavailable("away"), True),
        (SenderFenced("0x", 1, 2), True),
        (ConnectionRefusedError(), True),
        (TimeoutError(), True),
        (DBAPIError("SELECT", {}, Starting()), True),
        (IntegrityError("INSERT", {}, Unique()), False),
    ],
)
def test_absence_is_waited_out_and_a_fault_is_not(error: Exception, waited_out: bool) -> None:
    assert isinstance(error, SUSPECTS)
    assert passes(error) is waited_out


def test_broken_money_rule_is_not_even_suspected() -> None:
    assert not isinstance(Overdraft("x", 1, 2), SUSPECTS)
