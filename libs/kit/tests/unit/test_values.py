"""Ids, amounts, cursors and the manual clock."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licet_kit import cursor, ids, units
from licet_kit.clock import ManualClock


def test_ids_of_one_process_sort_in_the_order_in_which_they_were_made() -> None:
    made = [ids.new_id() for _ in range(5000)]
    assert made == sorted(set(made))


def test_an_id_is_a_version_7_uuid() -> None:
    text = ids.new_id()
    assert len(text) == 32
    assert text[12] == "7"
    assert text[16] in "89ab"


@given(st.integers(min_value=0, max_value=units.MAX_AMOUNT))
def test_every_amount_survives_its_text(amount: int) -> None:
    assert units.parse_amount(units.format_amount(amount)) == amount


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "01", "1.0", "1e3", " 1", "1_000", "٣", "0x10", str(2**256), "9" * 5000]
)
def test_what_is_not_an_amount_is_refused(text: str) -> None:
    with pytest.raises(units.AmountInvalid):
        units.parse_amount(text)


@pytest.mark.parametrize("amount", [-1, 2**256, True, 1.0])
def test_numbers_outside_of_the_bounds_are_refused(amount: int) -> None:
    with pytest.raises(units.AmountInvalid):
        units.checked(amount)


@given(
    st.dictionaries(
        st.text(max_size=20), st.one_of(st.text(max_size=50), st.integers(), st.none()), max_size=4
    )
)
def test_a_position_survives_its_cursor(position: dict[str, str | int | None]) -> None:
    assert cursor.decode(cursor.encode(position)) == position


@pytest.mark.parametrize("text", ["", "%%%", "bm90IGpzb24", "W10", "e30=x", "a" * 5000, "eyJhIjpbXX0"])
def test_a_cursor_that_was_not_issued_is_refused(text: str) -> None:
    with pytest.raises(cursor.CursorInvalid):
        cursor.decode(text)


def test_the_last_page_has_no_cursor() -> None:
    first = cursor.page([1, 2, 3], 2, lambda row: {"id": row})
    last = cursor.page([3], 2, lambda row: {"id": row})
    assert (first.data, first.has_more, cursor.decode(first.next_cursor or "")) == ([1, 2], True, {"id": 2})
    assert (last.data, last.has_more, last.next_cursor) == ([3], False, None)


async def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    clock, woken = ManualClock(), list[str]()

    async def sleeper(name: str, duration_s: float) -> None:
        await clock.sleep(duration_s)
        woken.append(name)

    tasks = [asyncio.create_task(sleeper("late", 10)), asyncio.create_task(sleeper("early", 5))]
    await asyncio.sleep(0)
    clock.advance(4)
    await asyncio.sleep(0)
    assert woken == []
    clock.advance(6)
    await asyncio.gather(*tasks)
    assert woken == ["early", "late"]
    assert clock.monotonic() == 10
