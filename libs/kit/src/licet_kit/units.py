"""Amounts: integers of the smallest unit, within what NUMERIC(78,0) and uint256 hold."""

from licet_kit.errors import PermanentError

# 2^256 - 1 has 78 digits; what a contract can hold is the bound, although the column could hold more.
MAX_AMOUNT = 2**256 - 1

_MAX_DIGITS = 78


class AmountInvalid(PermanentError):
    """A text or number that is not an amount of the smallest unit."""

    code = "amount_invalid"

    def __init__(self, given: object) -> None:
        super().__init__(f"not an amount: {str(given)[:100]!r}")
        self.given = given


def checked(amount: int) -> int:
    """Return `amount` if it lies within 0 and MAX_AMOUNT; raise AmountInvalid otherwise."""
    if isinstance(amount, bool) or not isinstance(amount, int) or not 0 <= amount <= MAX_AMOUNT:
        raise AmountInvalid(amount)
    return amount


def parse_amount(text: str) -> int:
    """Read a decimal string: digits only, no sign, space, point or leading zero. Raises AmountInvalid."""
    digits = isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    if not digits or (len(text) > 1 and text[0] == "0"):
        raise AmountInvalid(text)
    return checked(int(text))


def format_amount(amount: int) -> str:
    """Write an amount as the decimal string that `parse_amount` reads."""
    return str(checked(amount))
