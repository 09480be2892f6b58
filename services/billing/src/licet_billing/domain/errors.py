"""What can go wrong with money, each with the values that say why."""

from __future__ import annotations

from licet_kit.errors import PermanentError, RetryableError


class Unbalanced(PermanentError):
    """The entries of a transaction do not add up to zero in one currency."""

    code = "unbalanced"

    def __init__(self, transaction_id: str, total: int) -> None:
        super().__init__(f"transaction {transaction_id} is off by {total}")
        self.transaction_id = transaction_id
        self.total = total


class Overdraft(PermanentError):
    """An account that must not be negative would be."""

    code = "overdraft"

    def __init__(self, account_id: str, balance: int, amount: int) -> None:
        super().__init__(f"{account_id} holds {balance}, {amount} would leave it")
        self.account_id = account_id
        self.balance = balance
        self.amount = amount


class RecordInconsistent(PermanentError):
    """A usage record contradicts the right or the terms that it names."""

    code = "record_inconsistent"

    def __init__(self, field: str, found: str, expected: str) -> None:
        super().__init__(f"{field} is {found!r}, expected {expected!r}")
        self.field = field
        self.found = found
        self.expected = expected


class ReceiptInvalid(PermanentError):
    """A usage record's receipt is not what its segment, certificate and operator's key sign."""

    code = "receipt_invalid"

    def __init__(self, request_id: str, reason: str) -> None:
        super().__init__(f"receipt of {request_id}: {reason}")
        self.request_id = request_id
        self.reason = reason


class SenderFenced(RetryableError):
    """Another process sends for this key by now."""

    code = "sender_fenced"

    def __init__(self, operator: str, epoch: int, newest: int) -> None:
        super().__init__(f"sender {operator} of epoch {epoch} is fenced by epoch {newest}")
        self.operator = operator
        self.epoch = epoch
        self.newest = newest


class StateMoved(RetryableError):
    """A pending ledger transaction was posted or voided by somebody else meanwhile."""

    code = "state_moved"

    def __init__(self, expected: int, found: int) -> None:
        super().__init__(f"{found} of {expected} ledger transactions were still pending")
        self.expected = expected
        self.found = found


class MissingParent(RetryableError):
    """Something that a message builds on has not arrived yet; `parent` names it."""

    code = "missing_parent"

    def __init__(self, parent: str) -> None:
        super().__init__(f"waits for {parent}")
        self.parent = parent


class GrantUnknown(MissingParent):
    """Licensing has not told of this grant yet, or not yet that it is a grant of credits."""

    code = "grant_unknown"

    def __init__(self, grant_id: str) -> None:
        super().__init__(f"grant:{grant_id}")


class PlanUnknown(MissingParent):
    """The chain has not told of this plan yet."""

    code = "plan_unknown"

    def __init__(self, price_book_version: str) -> None:
        super().__init__(f"plan:{price_book_version}")


class ReceiptKeyUnknown(MissingParent):
    """The chain has not told of this receipt key of the operator yet."""

    code = "receipt_key_unknown"

    def __init__(self, operator: str, receipt_key: str) -> None:
        super().__init__(f"receipt_key:{operator}:{receipt_key}")


class RecordConflict(PermanentError):
    """Two different records carry one request id."""

    code = "record_conflict"

    def __init__(self, request_id: str) -> None:
        super().__init__(f"request {request_id} is charged from another record")
        self.request_id = request_id


class BatchesLost(PermanentError):
    """The chain has batches of this operator that this database does not know: settling on could bill twice."""

    code = "batches_lost"

    def __init__(self, operator: str, known: int, on_chain: int) -> None:
        super().__init__(f"operator {operator} has settled {on_chain} batches, {known} are known here")
        self.operator = operator
        self.known = known
        self.on_chain = on_chain


class NotFound(PermanentError):
    """There is no such thing, or none that the caller may know of."""

    code = "not_found"

    def __init__(self, what: str) -> None:
        super().__init__(f"there is no {what}")
        self.what = what
