"""Amounts are exact in both directions, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licet_sdk.cli.money import format_amount, parse_amount
from licet_sdk.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "units"),
    [("0", 0), ("25", 25_000_000), ("9.90", 9_900_000), ("0.000001", 1), ("1e3", 1_000_000_000)],
)
def test_amounts_are_counted_in_smallest_units(text: str, units: int) -> None:
    assert parse_amount(text) == units


@pytest.mark.parametrize("text", ["-1", "0.0000001", "nan", "inf", "ten", "", "1,5"])
def test_an_amount_that_would_be_rounded_or_guessed_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_amount(text)
    assert caught.value.code == "invalid_amount"


@given(st.integers(min_value=-(10**20), max_value=10**20))
def test_formatting_loses_no_digit(amount: int) -> None:
    text = format_amount(amount)
    assert text == "0" or not text.endswith(".")
    assert parse_amount(text.removeprefix("-")) == abs(amount)
