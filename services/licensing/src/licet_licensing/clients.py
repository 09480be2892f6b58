"""Outbound adapters: Ethereum signatures by eth-account, sign-in nonces in Redis."""

from __future__ import annotations

import secrets
from datetime import timedelta

import redis.asyncio as redis
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_keys.exceptions import BadSignature
from eth_utils.address import is_checksum_address
from eth_utils.exceptions import ValidationError
from licet_kit.errors import Unavailable
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

from licet_licensing.domain.errors import SignInRefused

_NONCE_BYTES = 16
_PREFIX = "licet:licensing:nonce:"
_SIGNATURE_CHARS = 2 + 65 * 2
RETRIES = 3


class NoncesUnavailable(Unavailable):
    """Redis does not answer: nobody can sign in until it does."""

    code = "sign_in_unavailable"


def is_checksummed(address: str) -> bool:
    """Whether an address is written as ERC-55 says, which ERC-4361 demands."""
    return bool(is_checksum_address(address))


def recover_signer(message: str, signature: str) -> str:
    """The lowercase address that signed the message by ERC-191 (`personal_sign`); `SignInRefused` when it cannot be."""
    if len(signature) != _SIGNATURE_CHARS or not signature.startswith("0x"):
        raise SignInRefused("a signature has 65 bytes, as 0x-hex")
    try:
        signer: str = Account.recover_message(encode_defunct(text=message), signature=signature)
    except (ValueError, BadSignature, ValidationError) as error:
        raise SignInRefused("the signature cannot be read") from error
    return signer.lower()


class Nonces:
    """Sign-in nonces that were issued and not used: losing Redis can only refuse."""

    def __init__(self, url: str, lifetime: timedelta) -> None:
        self.lifetime = lifetime
        # A pooled connection may be of a Redis that has been restarted since. Trying again is safe: a nonce is set
        # to the same value, and one whose taking got no answer counts as used.
        retry = Retry(ExponentialBackoff(cap=0.2, base=0.02), RETRIES)
        self._redis = redis.Redis.from_url(url, decode_responses=True, retry=retry)

    async def issue(self) -> str:
        """A new nonce that lives for `lifetime`."""
        nonce = secrets.token_hex(_NONCE_BYTES)
        try:
            await self._redis.set(_PREFIX + nonce, "1", px=int(self.lifetime.total_seconds() * 1000))
        except (RedisError, OSError) as error:
            raise NoncesUnavailable("sign-in nonces cannot be issued") from error
        return nonce

    async def take(self, nonce: str) -> bool:
        """Use a nonce up; false when it was not issued, has run out or was used."""
        try:
            return await self._redis.getdel(_PREFIX + nonce) is not None
        except (RedisError, OSError) as error:
            raise NoncesUnavailable("sign-in nonces cannot be checked") from error

    async def ping(self) -> None:
        """Raise unless Redis answers."""
        try:
            await self._redis.ping()
        except (RedisError, OSError) as error:
            raise NoncesUnavailable("Redis does not answer") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
