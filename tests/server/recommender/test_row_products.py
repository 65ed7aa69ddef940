"""Products with every user's row are those of the rows as they are, whichever changed since they were joined."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuelight.server.recommender.history import NOBODY, History, stacked
from tests.server.recommender.tables import random_table

row = st.dictionaries(st.integers(0, 14), st.sampled_from([0.5, 1.0, 2.0]), max_size=6)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 35), row), max_size=15), st.integers(0, 15))
def test_after_any_changes_products_are_those_of_the_rows(
    changes: list[tuple[int, dict[int, float]]], asked_at: int
) -> None:
    table = random_table(30, 12)
    table.products()
    asking = [History.of([0, 3, 7]), NOBODY, History.of([1, 11], 2.0)]
    for number, (user, liked) in enumerate(changes):
        if number == asked_at:
            table.products().with_all(stacked(asking, table.n_items))
        table.widen(max([table.n_items, *(item + 1 for item in liked)]))
        table.replace(user, History.of(list(liked), list(liked.values()), user=user))

    products = table.products()

    rows = stacked([table.row(user) for user in range(len(table))], table.n_items).toarray()
    dense = stacked(asking, table.n_items).toarray()
    np.testing.assert_allclose(products.with_all(stacked(asking, table.n_items)), dense @ rows.T, atol=1e-12)
    np.testing.assert_allclose(products.norms, np.linalg.norm(rows, axis=1), atol=1e-12)


@pytest.mark.parametrize("changed", [10, 300])
def test_many_changes_are_joined_and_few_are_not(changed: int) -> None:
    table = random_table(400, 12)
    before = table.products()

    for user in range(changed):
        table.replace(user, NOBODY)

    assert (table.products() is before) == (changed < 257)
    assert not table.products().norms[:changed].any()
