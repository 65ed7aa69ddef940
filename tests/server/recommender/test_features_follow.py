"""Features that follow changes of some items are those of all items made anew."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cuelight.server.recommender.features import DescribedItems, ItemAttributes, ItemFeatures

items = st.one_of(
    st.none(),
    st.builds(
        ItemAttributes,
        title=st.lists(st.sampled_from(["night", "day", "song"]), max_size=3).map(" ".join),
        tags=st.lists(st.sampled_from("xyz"), unique=True).map(tuple),
    ),
)


def similarities(features: ItemFeatures) -> np.ndarray:
    return np.asarray((features.matrix @ features.matrix.T).toarray())


def fresh(items: list[ItemAttributes | None]) -> np.ndarray:
    return similarities(ItemFeatures.of([item or ItemAttributes() for item in items]))


@settings(max_examples=100, deadline=None)
@given(st.lists(items, max_size=4), st.lists(st.tuples(st.integers(0, 8), items), max_size=12))
def test_after_any_changes_similarities_are_those_of_fresh_features(
    known: list[ItemAttributes | None], changes: list[tuple[int, ItemAttributes | None]]
) -> None:
    described, mirror = DescribedItems(known), list(known)
    for place, item in changes:
        mirror += [None] * (place + 1 - len(mirror))
        mirror[place] = item
        described.change(len(mirror), {place: item})
        np.testing.assert_allclose(similarities(described.features()), fresh(mirror), atol=1e-12)


def test_words_that_are_gone_are_in_no_name_and_change_nothing() -> None:
    described = DescribedItems([ItemAttributes("one two"), ItemAttributes("two three")])
    for n in range(0, 6000, 1500):
        described.change(2, {0: ItemAttributes(" ".join(f"word{n + i}" for i in range(1500)))})
        described.features()
    described.change(2, {0: ItemAttributes("two four")})

    features = described.features()

    assert set(features.names) == {"title two", "title three", "title four"}
    expected = fresh([ItemAttributes("two four"), ItemAttributes("two three")])
    np.testing.assert_allclose(similarities(features), expected, atol=1e-12)


def test_new_items_have_a_place_before_they_have_features() -> None:
    features = ItemFeatures.of([ItemAttributes("one"), ItemAttributes("one two")])

    wider = features.widened(4)

    assert wider.n_items == 4
    expected = np.pad(similarities(features), (0, 2))
    assert np.array_equal(similarities(wider), expected)
