"""What a filter lets pass follows every change, as if the catalogue were made anew; and arrays that grow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuelight.server.recommender.catalogue import Catalogue, ItemFilter, NumberRange
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.growing import Growing

FILTERS = (
    ItemFilter(),
    ItemFilter(include_unavailable=True),
    ItemFilter(any_tags=("x", "y")),
    ItemFilter(all_tags=("x", "y")),
    ItemFilter(none_tags=("z",)),
    ItemFilter(ranges=(NumberRange("year", 3.0, 6.0), NumberRange("price", greatest=5.0))),
    ItemFilter(any_tags=("z",), ranges=(NumberRange("price", least=2.0),), include_unavailable=True),
)
items = st.one_of(
    st.none(),
    st.builds(
        ItemAttributes,
        tags=st.lists(st.sampled_from("xyz"), unique=True).map(tuple),
        numbers=st.dictionaries(st.sampled_from(["year", "price"]), st.integers(0, 9).map(float)),
        available=st.booleans(),
    ),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(items, max_size=4), st.lists(st.tuples(st.integers(0, 12), items), max_size=20), st.integers(0, 20))
def test_after_any_changes_filters_are_those_of_a_fresh_catalogue(
    known: list[ItemAttributes | None], changes: list[tuple[int, ItemAttributes | None]], asked_at: int
) -> None:
    catalogue, mirror = Catalogue(known), list(known)
    for number, (place, item) in enumerate(changes):
        if number == asked_at:
            for conditions in FILTERS:
                catalogue.allowed(conditions)
        mirror += [None] * (place + 1 - len(mirror))
        mirror[place] = item
        catalogue.widen(max(len(catalogue), place + 1))
        catalogue.put(place, item)

    fresh = Catalogue(mirror)
    assert catalogue.attributes == mirror
    assert catalogue.present == fresh.present == sum(item is not None for item in mirror)
    for conditions in FILTERS:
        expected = [item is not None and conditions.passes(item) for item in mirror]
        assert catalogue.allowed(conditions).tolist() == expected
        assert fresh.allowed(conditions).tolist() == expected


def test_who_asked_may_change_the_answer() -> None:
    catalogue = Catalogue([ItemAttributes(), ItemAttributes()])

    catalogue.allowed(ItemFilter())[:] = False

    assert catalogue.allowed(ItemFilter()).tolist() == [True, True]


def test_more_filters_than_are_kept_are_answered_all_the_same() -> None:
    catalogue = Catalogue([ItemAttributes(numbers={"n": float(n)}) for n in range(100)])

    for _ in range(2):
        for n in range(100):
            assert np.flatnonzero(catalogue.allowed(ItemFilter(ranges=(NumberRange("n", n, n),)))).tolist() == [n]


@pytest.mark.parametrize("changes", [1, 2, 255, 256, 257, 600])
def test_a_filter_catches_up_with_however_many_items_changed_since(changes: int) -> None:
    catalogue = Catalogue([ItemAttributes(tags=("x",))] * 100)
    conditions = ItemFilter(none_tags=("gone",))
    assert catalogue.allowed(conditions).all()

    catalogue.widen(700)
    for place in range(changes):
        catalogue.put(place, ItemAttributes(tags=("gone",)))
    catalogue.put(650, ItemAttributes())

    expected = [*range(changes, 100), 650]
    assert np.flatnonzero(catalogue.allowed(conditions)).tolist() == expected
    assert np.flatnonzero(catalogue.allowed(conditions)).tolist() == expected


def test_filters_of_a_thousand_tags_are_those_of_one_item_at_a_time() -> None:
    items = [ItemAttributes(tags=tuple(f"t{tag}" for tag in range(n, n + 5))) for n in range(50)]
    many = tuple(f"t{tag}" for tag in range(0, 2000, 2))
    catalogue = Catalogue(items)

    for conditions in (
        ItemFilter(any_tags=many[:10]),
        ItemFilter(all_tags=("t7", "t8") * 500),
        ItemFilter(all_tags=many),
        ItemFilter(none_tags=many[5:]),
        ItemFilter(any_tags=many, none_tags=("t3",) * 1000),
    ):
        assert catalogue.allowed(conditions).tolist() == [conditions.passes(item) for item in items]


def test_what_grows_keeps_what_it_has_and_fills_the_rest() -> None:
    array = Growing(2, -1, np.int64)
    array.view[:] = [5, 6]

    for n in (3, 4, 50):
        array.widen(n)
        assert array.view.tolist() == [5, 6, *[-1] * (n - 2)]
        assert len(array) == n
