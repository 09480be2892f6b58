"""Sign-In with Ethereum messages (ERC-4361, https://eips.ethereum.org/EIPS/eip-4361): reading and judging them.

The text is read strictly by the ERC's ABNF: one message has exactly one reading, or none. Whether the address is
checksummed (ERC-55) and whether it signed are asked of `clients.wallets`, because both need Keccak.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from licet_licensing.domain.errors import SignInRefused

MAX_MESSAGE_CHARS = 4096
_STATEMENT = r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;= ]+"
_URI = r"[A-Za-z][A-Za-z0-9+.\-]*:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*"
_TIME = r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})"
_MESSAGE = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*)://)?"
    r"(?P<domain>[A-Za-z0-9\-._~%!$&'()*+,;=:@\[\]]+) wants you to sign in with your Ethereum account:\n"
    r"(?P<address>0x[0-9A-Fa-f]{40})\n"
    r"\n"
    rf"(?:(?P<statement>{_STATEMENT})\n)?"
    r"\n"
    rf"URI: (?P<uri>{_URI})\n"
    r"Version: (?P<version>1)\n"
    r"Chain ID: (?P<chain_id>[0-9]{1,20})\n"
    r"Nonce: (?P<nonce>[A-Za-z0-9]{8,96})\n"
    rf"Issued At: (?P<issued_at>{_TIME})"
    rf"(?:\nExpiration Time: (?P<expiration_time>{_TIME}))?"
    rf"(?:\nNot Before: (?P<not_before>{_TIME}))?"
    r"(?:\nRequest ID: (?P<request_id>[A-Za-z0-9\-._~%!$&'()*+,;=:@]*))?"
    rf"(?:\nResources:(?P<resources>(?:\n- {_URI})*))?"
)


@dataclass(frozen=True, slots=True)
class SignInMessage:
    """The fields of a message; absent ones are None. `address` is as written, not yet known to be checksummed."""

    scheme: str | None
    domain: str
    address: str
    statement: str | None
    uri: str
    chain_id: int
    nonce: str
    issued_at: datetime
    expiration_time: datetime | None
    not_before: datetime | None
    request_id: str | None
    resources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SignInPolicy:
    """What this service lets wallets sign for: its own domain, a URI of its own origin, its chains."""

    domain: str
    origin: str
    chain_ids: frozenset[int]


def parse(text: str) -> SignInMessage:
    """The message in `text`; `SignInRefused` when it is not exactly one by the ERC's grammar."""
    found = _MESSAGE.fullmatch(text) if len(text) <= MAX_MESSAGE_CHARS else None
    if found is None:
        raise SignInRefused("the message is not an ERC-4361 message of version 1")
    resources = found["resources"] or ""
    return SignInMessage(
        scheme=found["scheme"],
        domain=found["domain"],
        address=found["address"],
        statement=found["statement"],
        uri=found["uri"],
        chain_id=int(found["chain_id"]),
        nonce=found["nonce"],
        issued_at=_moment(found["issued_at"], "Issued At"),
        expiration_time=_optional_moment(found["expiration_time"], "Expiration Time"),
        not_before=_optional_moment(found["not_before"], "Not Before"),
        request_id=found["request_id"],
        resources=tuple(line.removeprefix("- ") for line in resources.split("\n")[1:]),
    )


def judge(message: SignInMessage, policy: SignInPolicy, now: datetime) -> None:
    """Raises `SignInRefused` unless the message is meant for this service, and for now."""
    if message.domain != policy.domain:
        raise SignInRefused(f"the message is for {message.domain}, this is {policy.domain}")
    if message.scheme is not None and message.scheme != urlsplit(policy.origin).scheme:
        raise SignInRefused(f"the message names the scheme {message.scheme}")
    if _origin(message.uri) != policy.origin:
        raise SignInRefused(f"the message's URI is not of {policy.origin}")
    if message.chain_id not in policy.chain_ids:
        raise SignInRefused(f"chain {message.chain_id} is not served here")
    if message.expiration_time is not None and now >= message.expiration_time:
        raise SignInRefused("the message has expired")
    if message.not_before is not None and now < message.not_before:
        raise SignInRefused("the message is not valid yet")


def _origin(uri: str) -> str | None:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.netloc}"


def _optional_moment(text: str | None, field: str) -> datetime | None:
    return None if text is None else _moment(text, field)


def _moment(text: str, field: str) -> datetime:
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise SignInRefused(f"{field} is not an RFC 3339 time") from error
