"""Amounts as people write them, and as the chain counts them."""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow

from licet_sdk.errors import ConfigError

DECIMALS = 6
# What the contracts can hold: UsageEscrow and PlanBook count in uint128.
MAX_AMOUNT = 2**128 - 1
# As many digits as a 256-bit amount can have.
_EXACT = Context(prec=78, Emax=77, traps=[Inexact, InvalidOperation, Overflow])


def parse_amount(text: str) -> int:
    """`"9.90"` → smallest units of a currency with 6 decimals; raises ConfigError rather than rounding."""
    try:
        # Exact: more digits than this are no amount, and scaleb raises where it would round.
        amount = Decimal(text).scaleb(DECIMALS, _EXACT)
    except (Inexact, InvalidOperation, Overflow) as error:
        raise ConfigError(
            "invalid_amount", f"{text!r} is not an amount", "write it like 25 or 9.90"
        ) from error
    if not amount.is_finite() or amount < 0 or amount != amount.to_integral_value():
        raise ConfigError(
            "invalid_amount",
            f"{text!r} is negative or has more than {DECIMALS} decimals",
            "write it like 25 or 9.90",
        )
    if amount > MAX_AMOUNT:
        raise ConfigError(
            "invalid_amount", f"{text!r} is more than a contract can hold", "write it like 25 or 9.90"
        )
    return int(amount)


def parse_units(text: str) -> int:
    """`"25"` → 25 units; raises ConfigError for anything but a whole number above 0."""
    if not (text.isascii() and text.isdigit()) or not 0 < int(text) <= MAX_AMOUNT:
        raise ConfigError("invalid_amount", f"{text!r} is no number of units", "write it like 25")
    return int(text)


def format_amount(amount: int) -> str:
    """Smallest units → decimal text, without losing a digit."""
    sign = "-" if amount < 0 else ""
    whole, rest = divmod(abs(amount), 10**DECIMALS)
    return f"{sign}{whole}.{rest:0{DECIMALS}d}".rstrip("0").rstrip(".") if rest else f"{sign}{whole}"
