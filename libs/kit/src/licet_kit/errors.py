"""The two error roots of the platform, and the fate that each asks for.

An edge (consumer, servicer, main) maps errors by these classes; `code` is stable and may be shown to clients.
"""

from typing import ClassVar


class LicetError(Exception):
    """An expected error with a stable, machine-readable `code`; subclasses carry the values that explain it."""

    code: ClassVar[str] = "internal"


class RetryableError(LicetError):
    """Trying again may succeed: a race that was lost, a lock that was not free."""

    code = "retryable"


class PermanentError(LicetError):
    """Trying again cannot succeed: the input or the state forbids it."""

    code = "permanent"


class Unavailable(RetryableError):
    """Something this process needs is away; work waits for it and is never given up because of it."""

    code = "unavailable"
