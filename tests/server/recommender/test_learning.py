"""What is learned step by step equals what is fitted at once, and what is forgotten leaves nothing behind."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuelight.server.recommender.gram import DRIFT_LIMIT, Gram
from cuelight.server.recommender.history import NOBODY, History, RowChange
from cuelight.server.recommender.interaction_table import InteractionTable
from cuelight.server.recommender.low_rank_inverse import MAX_RANK, LowRankInverse
from cuelight.server.recommender.model_set import ModelSet, ModelSettings
from tests.server.recommender.tables import random_table, some_features

N_USERS = 8
N_ITEMS = 10
LEARNERS = ("popularity", "item_cosine", "user_cosine", "ease", "hybrid")
SETTINGS = ModelSettings(half_life_s=20.0, neighbours=4, shrinkage=1.0, ease_regularization=2.0)

interaction = st.tuples(
    st.integers(0, N_USERS - 1),
    st.integers(0, N_ITEMS - 1),
    st.sampled_from([0.0, 1.0, 1.0, 1.0, 2.0, 0.5]),
    st.integers(0, 60),
)
"""User, item, weight (0 takes the item away) and day."""
batch = st.lists(interaction, min_size=1, max_size=6)
forget = st.integers(0, N_USERS - 1)


def with_interaction(row: History, item: int, weight: float, time_s: float, user: int) -> History:
    kept = row.items != item
    more = [] if weight == 0 else [item]
    return History.of(
        [*row.items[kept], *more],
        [*row.weights[kept], *[weight] * len(more)],
        [*row.times_s[kept], *[time_s] * len(more)],
        user,
    )


def by_item(gram: Gram) -> tuple[np.ndarray, np.ndarray]:
    """Return G and the inverse with rows by the items' places; 0 and 1 / lambda for items that nobody ever liked."""
    places, n = gram.rows.places, gram.rows.n_items
    counts, inverse = np.zeros((n, n)), np.eye(n) / gram.regularization
    counts[np.ix_(places, places)] = gram.counts
    inverse[np.ix_(places, places)] = gram.inverse.dense()[: len(places), : len(places)]
    return counts, inverse


def apply(models: ModelSet, step: list[tuple[int, int, float, int]] | int) -> None:
    """Take one step: a user to forget, or interactions that come together."""
    rows = {step: NOBODY} if isinstance(step, int) else {}
    for user, item, weight, day in step if isinstance(step, list) else []:
        rows[user] = with_interaction(rows.get(user, models.table.row(user)), item, weight, float(day), user)
    models.learn([models.table.replace(user, row) for user, row in rows.items()])
    models.gram.settle()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(batch, batch, forget), min_size=1, max_size=40))
def test_after_any_steps_everything_equals_a_fresh_fit(steps: list[list[tuple[int, int, float, int]] | int]) -> None:
    features = some_features(N_ITEMS)
    models = ModelSet(InteractionTable(N_ITEMS, [NOBODY] * N_USERS), features, SETTINGS)
    asking = [History.of([0, 3, 7]), History.of([1], 2.0)]
    for name in LEARNERS:
        models.get(name).scores(asking)

    for step in steps:
        apply(models, step)

    fresh_table = InteractionTable(N_ITEMS, [models.table.row(user) for user in range(N_USERS)])
    fresh = ModelSet(fresh_table, features, SETTINGS)
    for name in LEARNERS:
        expected = fresh.get(name).scores(asking)
        found = models.get(name).scores(asking)
        # Scores are sums of weights of about 1, so rounding leaves 1e-15 where nothing is left of them.
        np.testing.assert_allclose(
            found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max(initial=1e-6), err_msg=name
        )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(batch, batch, forget), min_size=1, max_size=60), st.sampled_from([None, 7, 64]))
def test_after_any_changes_counts_and_inverse_equal_a_fresh_fit(
    steps: list[list[tuple[int, int, float, int]] | int], max_rows: int | None
) -> None:
    """Half of the items are liked by nobody at the start; any may come to be, and cease to be."""
    table = random_table(N_USERS, N_ITEMS // 2)
    table.widen(N_ITEMS)
    gram = Gram.fit(table, 2.0, max_rows)
    assert gram.inverse is not None

    for step in steps:
        rows = {step: NOBODY} if isinstance(step, int) else {}
        for user, item, weight, day in step if isinstance(step, list) else []:
            rows[user] = with_interaction(rows.get(user, table.row(user)), item, weight, float(day), user)
        gram.learn([table.replace(user, row) for user, row in rows.items()])
        gram.settle()

    fresh = Gram.fit(table, 2.0)
    counts, inverse = by_item(gram)
    fresh_counts, fresh_inverse = by_item(fresh)
    np.testing.assert_allclose(counts, fresh_counts, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(inverse, fresh_inverse, rtol=1e-6, atol=1e-6 * np.abs(fresh_inverse).max())
    assert gram.drift() < DRIFT_LIMIT


def test_a_user_who_was_forgotten_was_never_there() -> None:
    table = random_table()
    with_user = Gram.fit(table, 2.0)
    assert with_user.inverse is not None

    with_user.learn([table.replace(3, NOBODY)])
    with_user.settle()

    without = Gram.fit(InteractionTable(12, [table.row(user) for user in range(30) if user != 3]), 2.0)
    for found, expected in zip(by_item(with_user), by_item(without), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_many_changes_are_folded_into_the_base_and_drift_is_small() -> None:
    table = random_table(200, 120)
    gram = Gram.fit(table, 5.0)
    generator = np.random.default_rng(1)
    assert gram.inverse is not None

    for user in range(200):
        row = with_interaction(table.row(user), int(generator.integers(120)), 1.0, 0.0, user)
        gram.learn([table.replace(user, row)])
        gram.settle()
        assert gram.inverse.left.shape[1] < MAX_RANK

    assert gram.changes_since_fit == 200
    assert gram.drift() < DRIFT_LIMIT


def test_drift_is_measured_and_an_update_anew_ends_it() -> None:
    gram = Gram.fit(random_table(), 2.0)
    gram.adopt(LowRankInverse.of(gram.counts + 2.001 * np.eye(12)))

    assert gram.drift() > DRIFT_LIMIT
    gram.settle(anew=True)
    assert gram.drift() < DRIFT_LIMIT


def test_what_is_learned_while_an_update_is_computed_is_in_the_next_one() -> None:
    table = random_table()
    gram = Gram.fit(table, 2.0)
    assert gram.inverse is not None
    gram.learn([table.replace(1, NOBODY)])
    update = gram.update()
    learn_more(gram, table)

    gram.adopt(update.computed())

    assert gram.pending == 3
    gram.settle()
    assert_as_fitted(gram, table)


@pytest.mark.parametrize("slices", [0, 1, 2])
def test_what_is_learned_while_the_counts_are_copied_is_in_the_copy(slices: int) -> None:
    table = random_table()
    gram = Gram.fit(table, 2.0)
    copy = gram.begin_copy(slice_bytes=4 * 12 * 8)
    for _ in range(slices):
        assert not gram.copy_some(copy)
    learn_more(gram, table)
    while not gram.copy_some(copy):
        pass
    gram.learn([table.replace(5, NOBODY)])

    gram.adopt(copy.computed())

    assert gram.pending == 1
    gram.settle()
    assert_as_fitted(gram, table)


def test_a_copy_that_more_items_come_to_than_it_has_room_for_begins_again() -> None:
    table = random_table()
    gram = Gram.fit(table, 2.0)
    copy = gram.begin_copy()
    assert not gram.copy_some(copy)
    table.widen(40)
    gram.widen(40)
    gram.learn([table.replace(0, History.of(range(40)))])
    while not gram.copy_some(copy):
        pass

    gram.adopt(copy.computed())

    assert gram.pending == 0
    assert_as_fitted(gram, table)


def learn_more(gram: Gram, table: InteractionTable) -> None:
    gram.learn([table.replace(2, NOBODY), table.replace(4, History.of([1, 11]))])
    table.widen(13)
    gram.widen(13)
    gram.learn([table.replace(2, History.of([12, 0]))])


def assert_as_fitted(gram: Gram, table: InteractionTable) -> None:
    for found, expected in zip(by_item(gram), by_item(Gram.fit(table, 2.0)), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)
    assert gram.drift() < DRIFT_LIMIT


def test_who_holds_an_inverse_keeps_it_while_changes_come() -> None:
    table = random_table()
    gram = Gram.fit(table, 2.0)
    held = gram.inverse
    before = held.dense()

    gram.learn([table.replace(0, NOBODY)])
    gram.settle()

    assert np.array_equal(held.dense(), before)
    assert gram.inverse is not held


def test_a_change_to_the_same_changes_nothing() -> None:
    table = random_table()
    gram = Gram.fit(table, 2.0)
    counts = gram.counts.copy()

    change = gram.learn([RowChange(0, table.row(0), table.row(0))])

    assert len(change.rows) == 0
    assert np.array_equal(gram.counts, counts)


@pytest.mark.parametrize("old", [History.of([]), History.of([1, 5], [1.0, 2.0])], ids=["new", "known"])
def test_a_row_change_names_what_was_added(old: History) -> None:
    items, before, added = RowChange(0, old, History.of([5, 0])).difference()

    dense = np.zeros(6)
    dense[items] = before + added
    assert dense.tolist() == [1, 0, 0, 0, 0, 1]
