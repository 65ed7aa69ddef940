"""Where a model has no more to say: equal scores go by popularity, and nothing but 0 is a cold shelf or no shelf."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cuelight.server.recommender.boosts import Boost
from cuelight.server.recommender.catalogue import ItemFilter
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.live_models import LiveModels
from cuelight.server.recommender.model_names import MODEL_NAMES
from cuelight.server.recommender.ranking import top
from cuelight.server.recommender.shelves import Query, Shelf, ShelfOptions
from cuelight.server.recommender.store.store import Store
from cuelight.server.recommender.writes import Record, UpsertItems
from tests.server.recommender.test_live_models import like, shelf, started, write

BY_HISTORY = [name for name in MODEL_NAMES if name not in {"popularity", "als", "sequential"}]
POPULAR = ["i11", "i10", "i9", "i8", "i7", "i6", "i5", "i4", "i3", "i2", "i1", "i0"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Twelve items in two halves, the later in its half the more popular; nobody likes anything of both."""
    opened = Store(tmp_path)
    opened.upsert_items({f"i{i}": ItemAttributes(tags=("low" if i < 6 else "high",)) for i in range(12)})
    opened.record([like(f"l{u}", f"i{i}", 100 * u + i) for u in range(6) for i in range(u, 6)])
    opened.record([like(f"h{u}", f"i{i}", 100 * u + i) for u in range(10, 22) for i in range(6 + u % 6, 12)])
    yield opened
    opened.close()


def items(answer: Shelf) -> list[str]:
    return [item.item for item in answer.items]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 9])
def test_of_equal_scores_the_more_popular_comes_first_and_then_the_lower_place(n: int) -> None:
    scores = np.array([0.0, 2.0, -0.0, 3.0, 0.0, 2.0])
    popularity = np.array([1.0, 0.0, 5.0, 0.0, 5.0, 4.0])

    assert top(scores, n, None, lambda: popularity).tolist() == [3, 5, 1, 2, 4, 0][:n]
    allowed = np.array([True, True, False, True, True, False])
    assert top(scores, n, allowed, lambda: popularity).tolist() == [3, 1, 4, 0][:n]


@pytest.mark.parametrize("seed", range(20))
def test_any_scores_come_in_the_order_of_score_then_popularity_then_place(seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores, popularity = generator.integers(0, 4, (2, 30)).astype(np.float64)
    allowed = generator.random(30) < 0.7

    expected = sorted(np.flatnonzero(allowed).tolist(), key=lambda place: (-scores[place], -popularity[place], place))

    for n in range(1, 32):
        assert top(scores, n, allowed, lambda: popularity).tolist() == expected[:n]


def test_without_equal_scores_popularity_is_not_asked_for() -> None:
    def never() -> np.ndarray:
        raise AssertionError("it costs time")

    assert top(np.array([1.0, 3.0, 2.0, 2.0]), 1, None, never).tolist() == [1]
    assert top(np.array([1.0, 3.0, 2.0]), 5, None, never).tolist() == [1, 2, 0]


def test_what_fills_up_a_shelf_is_what_is_popular(store: Store) -> None:
    models = started(store)

    answer = shelf(models, Query(history={"i0": 1.0}), model="user_cosine", n=100)

    scored = [item.item for item in answer.items if item.score]
    assert scored == ["i5", "i4", "i3", "i2", "i1"], "who likes i0 likes all of them, and all as much"
    assert items(answer) == [*scored, *POPULAR[:6]]
    assert not answer.cold
    assert items(shelf(models, Query(history={"i0": 1.0}), model="user_cosine", n=7)) == [*scored, "i11", "i10"]


@pytest.mark.parametrize("model", BY_HISTORY)
def test_who_likes_only_what_nothing_is_known_of_gets_a_cold_shelf(store: Store, model: str) -> None:
    models = started(store)
    write(store, models, Record([like("ann", "brand new", 5000)]))

    answer = shelf(models, Query("ann"), model=model, n=3, explain=True)

    expected = shelf(models, Query("somebody new"), model=model, n=3, explain=True)
    assert (answer.cold, answer.model) == (True, "popularity")
    assert answer == expected
    assert items(answer) == POPULAR[:3]
    assert [[reason.feature for reason in item.reasons] for item in answer.items] == [["popularity"]] * 3


def test_what_may_be_on_the_shelf_is_what_counts_and_boosts_and_seeds_go_on(store: Store) -> None:
    models = started(store)
    low = ItemFilter(any_tags=("low",))
    lifted = (Boost("first", ("i0",), add=9.0),)

    other_half = shelf(models, Query(history={"i6": 1.0}), model="ease", conditions=low, n=2, boosts=lifted)
    none_at_all = shelf(models, Query(history={"i6": 1.0}), model="ease", conditions=ItemFilter(any_tags=("no",)))
    explored = shelf(models, Query(history={"i6": 1.0}), conditions=low, n=3, exploration=1.0, seed=4)

    assert (items(other_half), other_half.cold) == (["i0", "i5"], True)
    assert (items(none_at_all), none_at_all.cold) == ([], False)
    assert all(item.explored for item in explored.items)


@pytest.mark.parametrize("model", BY_HISTORY)
def test_items_with_nothing_in_common_are_not_similar(store: Store, model: str) -> None:
    models = started(store)
    write(store, models, UpsertItems({"brand new": ItemAttributes("A title of its own")}))

    nothing = models.similar_items("brand new", ShelfOptions(model))
    some = models.similar_items("i7", ShelfOptions(model, n=100))

    assert (items(nothing), nothing.cold) == ([], False)
    assert set(items(some)) <= {f"i{i}" for i in range(6, 12)} - {"i7"}
    assert some.items
    assert all(item.score > 0 for item in some.items)


def test_similar_items_stay_where_a_blend_holds_being_popular_against_them(store: Store) -> None:
    models = started(store)

    answer = models.similar_items("i7", ShelfOptions(blend={"item_cosine": 1.0, "popularity": -100.0}, n=100))

    alike = items(models.similar_items("i7", ShelfOptions("item_cosine", n=100)))
    assert set(items(answer)) == set(alike)
    assert all(item.score < 0 for item in answer.items)


def test_no_score_is_minus_zero(store: Store) -> None:
    models: LiveModels = started(store)

    for model in set(BY_HISTORY) - {"hybrid"}:
        answer = shelf(models, Query(history={"i6": 1.0}), blend={model: -1.0}, n=100)
        assert answer.items
        assert not [item for item in answer.items if item.score == 0 and math.copysign(1, item.score) < 0]
