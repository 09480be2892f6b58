"""What can go wrong, with the values that say why. Codes are the refusal codes of the shared interfaces."""

from __future__ import annotations

from licet_kit.errors import PermanentError


class CredentialInvalid(PermanentError):
    """The credential is malformed, unknown, expired or revoked."""

    code = "credential_invalid"


class SignInRefused(PermanentError):
    """A Sign-In with Ethereum message is malformed, not meant for this service, out of its time, or used before."""

    code = "credential_invalid"


class InvalidRequest(PermanentError):
    """A request that cannot be understood."""

    code = "request_invalid"


class NotFound(PermanentError):
    """No such object, or none that the caller may know of."""

    code = "not_found"


class RequestReused(PermanentError):
    """A request id came again with another content."""

    code = "request_reused"

    def __init__(self, request_id: str) -> None:
        super().__init__(f"request {request_id} was made before with another content")
        self.request_id = request_id


class RecordContradictsLease(PermanentError):
    """A usage record names another grant, account or plan than the lease that it belongs to."""

    code = "record_contradicts_lease"

    def __init__(self, lease_id: str, field: str, recorded: str, leased: str) -> None:
        super().__init__(f"record of lease {lease_id} says {field} {recorded}, the lease says {leased}")
        self.lease_id = lease_id


class EquationBroken(AssertionError):
    """`granted = free + leased + suspended + spent + lapsed` would not hold. Never continue."""
