"""Which shelves are made on the event loop: plain ones of a kind that took less than a millisecond lately."""

import pytest

from cuelight.server.recommender.boosts import Boost
from cuelight.server.recommender.shelves import ShelfOptions
from cuelight.server.recommender.short_shelves import ShortShelves


def test_the_first_of_a_kind_is_not_and_then_it_hangs_on_what_it_took() -> None:
    shelves = ShortShelves()
    kind = shelves.kind(ShelfOptions(model="ease"), history=95)
    assert kind is not None
    assert not shelves.is_short(kind)
    shelves.took(kind, 0.0004)
    assert shelves.is_short(kind)
    shelves.took(kind, 0.100)
    assert not shelves.is_short(kind)
    for _ in range(100):
        shelves.took(kind, 0.0004)
    assert shelves.is_short(kind)


def test_another_model_and_a_much_longer_history_are_other_kinds() -> None:
    shelves = ShortShelves()
    kinds = {
        shelves.kind(ShelfOptions(model=model), history)
        for model in ("ease", "als")
        for history in (0, 1, 64, 95, 1800)
    }
    assert len(kinds) == 2 * 4


@pytest.mark.parametrize(
    "options",
    [
        ShelfOptions(explain=True),
        ShelfOptions(diversity=0.1),
        ShelfOptions(exploration=0.1),
        ShelfOptions(boosts=(Boost(items=("i",), add=1.0),)),
        ShelfOptions(excluded=("i",) * 101),
        ShelfOptions(blend={"ease": 1.0}),
        ShelfOptions(n=101),
    ],
)
def test_whatever_is_more_than_the_best_items_is_for_the_thread(options: ShelfOptions) -> None:
    assert ShortShelves().kind(options, history=1) is None
