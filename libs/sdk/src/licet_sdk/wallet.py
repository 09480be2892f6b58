"""The caller's wallet, from the configured private key."""

from __future__ import annotations

from typing import Any

from eth_account import Account

from licet_sdk.config import Config
from licet_sdk.errors import ConfigError


def account_of(config: Config) -> Any:
    """The eth_account.LocalAccount that signs; raises ConfigError where the key is missing or malformed.

    The error never repeats the key.
    """
    key = config.require("private_key")
    try:
        return Account.from_key(key)
    except ValueError:
        # Without its cause, which may hold the key.
        raise ConfigError(
            "config_invalid", "the private key is not 32 bytes of hex", "mend LICET_PRIVATE_KEY or its file"
        ) from None
