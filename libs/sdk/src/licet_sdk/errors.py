"""Errors of the SDK: each says what went wrong, under a stable code, and what to do about it."""

from __future__ import annotations


class LicetError(Exception):
    """Something the caller can act on.

    `code` is stable and machine-readable; refusals of the services carry the codes of
    docs/architecture/interfaces.md.
    """

    exit_code = 1

    def __init__(self, code: str, message: str, remedy: str = "") -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.remedy = remedy


class ConfigError(LicetError):
    """A setting is missing or wrong."""

    exit_code = 2


class Unreachable(LicetError):
    """A service, the chain or the gateway did not answer."""

    exit_code = 3


class Refused(LicetError):
    """A service said no, for a stated reason."""

    exit_code = 4

    def __init__(self, code: str, message: str, remedy: str = "", *, status: int = 0) -> None:
        super().__init__(code, message, remedy)
        self.status = status


class ChainError(LicetError):
    """A transaction was refused or reverted."""

    exit_code = 5


class VerificationFailed(LicetError):
    """A receipt or a reconciliation does not hold."""

    exit_code = 6

    def __init__(self, code: str, message: str, remedy: str = "") -> None:
        super().__init__(code, message, remedy or "keep the answer as evidence, and show it to the operator")
