"""Rows of the slabs: handed out once, taken back once, and always enough of them."""

import pytest

from cuelight.server.inference.slots import SlotTable


def test_every_row_is_handed_out_once_and_neither_initial_nor_padding_ever() -> None:
    slots = SlotTable(capacity=3, spare=2)

    rows = [slots.take() for _ in range(5)]

    assert sorted(rows) == [0, 1, 2, 3, 4]
    assert {slots.initial, slots.padding} == {5, 6}
    assert slots.rows == 7
    assert slots.taken == 5


def test_a_row_given_back_is_the_next_to_be_used() -> None:
    slots = SlotTable(3, 1)
    first, second = slots.take(), slots.take()

    slots.give_back(first)

    assert slots.take() == first
    assert slots.taken == 2
    assert second != first


def test_giving_a_row_back_twice_is_a_mistake_that_shows() -> None:
    slots = SlotTable(2, 1)
    row = slots.take()
    slots.give_back(row)

    with pytest.raises(KeyError):
        slots.give_back(row)
