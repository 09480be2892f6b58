"""What the gateway speaks of: refusals, credentials, metering rules, leases and the outcome of a call.

Everything here is pure; units are metered units of a plan, times are nanoseconds unless a name says otherwise.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

# A lease never lives longer than this, whatever a reply says: revocation bounds are stated in terms of it.
LEASE_TTL_MAX_MS: Final = 30_000

SLUG_PART: Final = r"[a-z0-9-]{1,39}"
_RULE: Final = re.compile(r"request|bytes|seconds|input_tokens|output_tokens|rows:([\x21-\x7e]{1,59})")

REFUSAL_STATUS: Final = MappingProxyType(
    {
        "credential_missing": 401,
        "credential_invalid": 401,
        "license_missing": 403,
        "license_expired": 403,
        "license_transferred": 403,
        "license_revoked": 403,
        "license_delegated": 403,
        "delegation_ended": 403,
        "mandate_ended": 403,
        "policy_denied": 403,
        "model_unknown": 404,
        "request_too_large": 413,
        "quota_exhausted": 429,
        "rate_limited": 429,
        "licensing_unavailable": 503,
        "mirror_stale": 503,
        "model_not_ready": 503,
        "overloaded": 503,
    }
)


class Outcome(enum.IntEnum):
    """How a call ended; the numbers are those of `usage.v1.Outcome`."""

    OK = 1
    CANCELLED = 2
    UPSTREAM_ERROR = 3
    CLIENT_GONE = 4
    ABORTED = 5


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call is not made, in words and codes that a caller can act on."""

    code: str
    message: str
    remedy: str
    retry_after_ms: int = 0
    decision_id: str = ""

    @property
    def status(self) -> int:
        """The HTTP status of the code; a code that this gateway does not know yet is a plain 403."""
        return REFUSAL_STATUS.get(self.code, 403)


@dataclass(frozen=True, slots=True)
class Credential:
    """Who calls: exactly one of the two is set. The key itself is not kept."""

    api_key_hash: bytes = b""
    session: str = field(default="", repr=False)


class Measure(enum.Enum):
    """What is counted."""

    REQUEST = "request"
    ROWS = "rows"
    BYTES = "bytes"
    SECONDS = "seconds"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"

    @property
    def of_tokens(self) -> bool:
        """Whether the model's runner counts it, and tells in its answer."""
        return self is Measure.INPUT_TOKENS or self is Measure.OUTPUT_TOKENS


@dataclass(frozen=True, slots=True)
class MeteringRule:
    """How units are counted: one a request, the first dimension of the input `rows_of`, bytes of the request's body,
    begun seconds of the inference server's time, or tokens."""

    text: str
    measure: Measure
    rows_of: str | None = None

    @classmethod
    def parse(cls, text: str) -> MeteringRule | None:
        """The rule that `text` states, or None where this gateway does not know it (it then serves nothing)."""
        match = _RULE.fullmatch(text)
        return None if match is None else cls(text, Measure(text.partition(":")[0]), match.group(1))


REQUEST_RULE: Final = MeteringRule("request", Measure.REQUEST)


@dataclass(frozen=True, slots=True)
class TokenCaps:
    """The most tokens that one call of a version reads and writes; its runner holds it to them. 0: none are stated.

    It reads at most `beyond_bytes` tokens more than bytes; None where that is not so.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    beyond_bytes: int | None = 64


NO_CAPS: Final = TokenCaps()


@dataclass(frozen=True, slots=True)
class Limits:
    """Shares of a grant's limits that ride in a lease; 0 means no limit."""

    requests_per_s: int = 0
    concurrency: int = 0
    max_request_units: int = 0
    max_calls: int = 0
    units_per_s: int = 0


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """What licensing lent: everything that usage records of the lease repeat, and what bounds its use."""

    lease_id: str
    grant_id: str
    generation: int
    account_id: str
    account_lease: int
    plan_id: str
    asset_id: str
    version_digest: str
    units: int
    ttl_ms: int
    price_book_version: str
    metering_rule: str
    decision_id: str
    slug: str
    units_remaining: int = 0
    limits: Limits = Limits()
    # (grant_id, generation) of other grants without which this lease is dead.
    requires: tuple[tuple[str, int], ...] = ()

    def rests_on(self) -> tuple[tuple[str, int], ...]:
        """Every grant, with its generation, that must stay live for the lease."""
        return ((self.grant_id, self.generation), *self.requires)


# Not frozen, for one is made and read for every call: a frozen one takes three times as long to make.
@dataclass(slots=True)
class CallRecord:
    """One finished call, or the marker that ends a lease without one (`outcome` ABORTED, no units)."""

    sequence: int
    units: int
    outcome: Outcome
    last: bool
    started_ns: int
    ended_ns: int
    bytes_in: int = 0
    bytes_out: int = 0
    request_commitment: bytes = bytes(32)
    response_commitment: bytes = bytes(32)


_SLUG: Final = re.compile(f"{SLUG_PART}/{SLUG_PART}", re.ASCII)
_PUBLIC_NAME: Final = re.compile(rf"({SLUG_PART})\.({SLUG_PART})".encode(), re.ASCII)


def is_slug(name: str) -> bool:
    """Whether it is `owner/model`."""
    return _SLUG.fullmatch(name) is not None


def slug_of(name: bytes) -> str | None:
    """`owner/model` of `owner.model`, as KServe routes and messages name it; None where it is no such name."""
    match = _PUBLIC_NAME.fullmatch(name)
    return None if match is None else f"{match.group(1).decode()}/{match.group(2).decode()}"


def chain_of(grant_id: str) -> str:
    """The id of the chain that a grant stands on: its name begins with it."""
    return grant_id.partition(":")[0]


def request_id(lease_id: str, sequence: int) -> str:
    """The name of a call: also its event id and its receipt id."""
    return f"{lease_id}-{sequence}"


def pinned_name(slug: str, version_digest: str) -> str:
    """The Triton name of one immutable version: `owner.model-<16 hex of the digest>`."""
    return f"{slug.replace('/', '.')}-{version_digest.removeprefix('0x')[:16]}"
