"""Models that serve: what writes changed is in the next answer, and equals what a start from the store would say."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cuelight.server.errors import (
    CuelightError,
    InvalidRequest,
    ItemNotFound,
    ModelNotFound,
    ModelNotReady,
    Unavailable,
    UserNotFound,
)
from cuelight.server.recommender.catalogue import Catalogue, ItemFilter, NumberRange
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.history import History
from cuelight.server.recommender.liking import told_rows
from cuelight.server.recommender.live_models import LiveModels
from cuelight.server.recommender.model_set import ModelSettings
from cuelight.server.recommender.models.als import ImplicitAls
from cuelight.server.recommender.models.scorer import Reason
from cuelight.server.recommender.news import Loaded
from cuelight.server.recommender.shelves import Query, Shelf, ShelfOptions
from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.store import Store
from cuelight.server.recommender.writes import DeleteItems, ForgetUsers, Record, UpsertItems, Write, carry_out

SETTINGS = ModelSettings(neighbours=4, shrinkage=1.0, ease_regularization=2.0)
EXACT = ("popularity", "item_cosine", "user_cosine", "content_cosine", "ease", "hybrid")
ASKING = Query(history={"i1": 1.0, "i3": 2.0})


def started(store: Store) -> LiveModels:
    return started_with(store, SETTINGS)


def started_with(store: Store, settings: ModelSettings) -> LiveModels:
    liked, unliked = told_rows(store, 1.0)
    loaded = Loaded(store.users, store.items, liked, store.attributes(), 1.0, store.last_sequence(), unliked)
    models = LiveModels(loaded, settings)
    models.fit()
    return models


def write(store: Store, models: LiveModels, *writes: Write) -> Sequence[int | Exception]:
    written = carry_out(store, writes)
    for news in written.news:
        models.learn(news)
    while update := models.inverse_update():
        while not models.prepared():
            pass
        models.adopt_inverse(update.computed())
    while described := models.features_update():
        models.adopt_features(described.computed())
    return written.answers


def shelf(models: LiveModels, query: Query, **options: object) -> Shelf:
    [answer] = models.recommend([(query, ShelfOptions(**options))])  # type: ignore[arg-type]
    if isinstance(answer, Exception):
        raise answer
    return answer


def like(user: str, item: str, number: int, value: float | None = 1.0) -> Event:
    return Event(f"e{number}", user, item, value, float(number))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path)
    opened.record([like(f"u{u}", f"i{i}", 10 * u + i) for u in range(8) for i in range(6) if (u * i) % 3 != 1])
    yield opened
    opened.close()


told = st.tuples(
    st.sampled_from("abc"), st.sampled_from(["i0", "i1", "i2", "i3", "new", "newer"]), st.sampled_from([1.0, 0.0, None])
)
writes = st.one_of(
    st.lists(told, min_size=1, max_size=4),
    st.lists(told, min_size=1, max_size=4),
    st.sampled_from([DeleteItems(["i2", "new"]), ForgetUsers(["a", "nobody"]), ForgetUsers(["b", "c"])]),
    st.sampled_from([UpsertItems({"i1": ItemAttributes("A b", ("x",)), "latest": ItemAttributes("B", ("x", "y"))})]),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(writes, max_size=12))
def test_after_any_writes_answers_are_those_of_a_fresh_start(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Write | list[tuple[str, str, float | None]]]
) -> None:
    store = Store(tmp_path_factory.mktemp("live"))
    store.record([like("a", "i1", 1), like("b", "i3", 2), like("b", "i1", 3)])
    models = started(store)
    number = 10
    for step in steps:
        if isinstance(step, list):
            write(store, models, *(Record([like(*said[:2], number + i, said[2])]) for i, said in enumerate(step)))
            number += len(step)
        else:
            write(store, models, step)

    fresh = started(store)

    assert models.version == fresh.version
    assert models.inverse_learned == models.learned
    assert models.counts() == fresh.counts()
    for name in EXACT:
        for query in (ASKING, Query("a"), Query("b")):
            found = scores_of(shelf(models, query, model=name, n=100, include_seen=True))
            assert found == pytest.approx(
                scores_of(shelf(fresh, query, model=name, n=100, include_seen=True)), rel=1e-6, abs=1e-9
            )
            for since_s in (-np.inf, 12.0):
                shown, expected = (
                    scores_of(shelf(one, query, model=name, n=100, exclude_seen_since_s=since_s))
                    for one in (models, fresh)
                )
                assert shown.keys() == expected.keys()
    store.close()


def scores_of(answer: Shelf) -> dict[str, float]:
    return {item.item: item.score for item in answer.items}


def test_a_shelf_names_its_reasons_and_leaves_out_what_is_seen(store: Store) -> None:
    models = started(store)

    answer = shelf(models, ASKING, model="ease", explain=True)

    assert not {"i1", "i3"} & set(scores_of(answer))
    for item in answer.items:
        assert sum(reason.share for reason in item.reasons) == pytest.approx(item.score)
        assert {reason.item for reason in item.reasons} <= {"i1", "i3"}


def test_questions_of_several_models_are_answered_in_their_order(store: Store) -> None:
    models = started(store)
    options = [ShelfOptions(model=name) for name in ("ease", "popularity", "sasrec", "ease", "als")]

    answers = models.recommend([(ASKING, one) for one in options])

    assert isinstance(answers[2], ModelNotFound)
    assert isinstance(answers[4], ModelNotReady)
    shelves = [answer for answer in answers if isinstance(answer, Shelf)]
    assert [one.model for one in shelves] == ["ease", "popularity", "ease"]


class Broken:
    """A model that fails for whoever likes the item in the first place, and gives others what is no number."""

    name = "user_cosine"

    def __init__(self, n_items: int) -> None:
        self._n_items = n_items

    def scores(self, histories: Sequence[History]) -> NDArray[np.float64]:
        if any(0 in history.items for history in histories):
            raise ArithmeticError("fails")
        return np.full((len(histories), self._n_items), np.nan)

    def reasons(self, history: History, items: NDArray[np.int64]) -> list[tuple[Reason, ...]]:
        return [() for _ in items]


def test_a_question_that_fails_or_leads_to_no_number_harms_no_other_of_its_group(store: Store) -> None:
    models = started(store)
    models._models.put("user_cosine", Broken(len(store.items)))
    [first] = (item for item, place in store.items.items() if place == 0)
    other = Query(history={next(item for item in store.items if item != first): 1.0})
    broken = ShelfOptions(model="user_cosine")

    fails, no_number, well = models.recommend(
        [(Query(history={first: 1.0}), broken), (other, broken), (other, ShelfOptions(model="ease"))]
    )

    assert isinstance(fails, ArithmeticError)
    assert isinstance(no_number, InvalidRequest)
    assert str(no_number).startswith('model "user_cosine": expected weights that lead to finite scores')
    assert isinstance(well, Shelf)
    assert well.items


def test_als_comes_when_fitted_and_goes_with_whom_it_knew(store: Store) -> None:
    models = started(store)
    table, forgets = models.table_for_als()
    fitted = ImplicitAls.fit(table, factors=2)
    models.adopt_als(fitted, forgets)
    assert shelf(models, ASKING, model="als").model == "als"

    write(store, models, ForgetUsers(["u1"]))
    models.adopt_als(fitted, forgets)

    assert "being fitted" in models.details()["als"]
    with pytest.raises(ModelNotReady, match="als"):
        shelf(models, ASKING, blend={"als": 1.0})
    table, forgets = models.table_for_als()
    models.adopt_als(ImplicitAls.fit(table, factors=2), forgets)
    assert shelf(models, ASKING, model="als").model == "als"


def test_nothing_known_is_a_cold_shelf_of_what_everybody_likes(store: Store) -> None:
    models = started(store)

    for query in (Query("somebody new"), Query(history={"unheard of": 1.0}), Query()):
        answer = shelf(models, query, model="ease")
        assert (answer.cold, answer.model) == (True, "popularity")
        assert answer.items
        with pytest.raises(ModelNotFound, match="eaze"):
            shelf(models, query, model="eaze")


def test_a_write_that_fails_fails_alone_and_teaches_nothing(store: Store) -> None:
    models = started(store)
    [pages] = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    before = scores_of(shelf(models, ASKING, model="ease"))

    answers = write(
        store,
        models,
        Record([like(f"user {n}", f"item {n}", 1000 + n) for n in range(5000)]),
        ForgetUsers(["nobody"]),
    )

    assert isinstance(answers[0], CuelightError)
    assert answers[1] == 0
    assert scores_of(shelf(models, ASKING, model="ease")) == before


def test_models_forget_even_when_the_log_cannot_be_emptied(store: Store) -> None:
    models = started(store)

    def held() -> None:
        raise Unavailable("a reader")

    store.compact = held  # type: ignore[method-assign]
    [answer] = write(store, models, ForgetUsers(["u1"]))

    assert isinstance(answer, Unavailable)
    with pytest.raises(UserNotFound):
        models.similar_users("u1", 5)


def test_who_is_forgotten_again_after_the_log_was_held_is_in_no_byte(store: Store) -> None:
    models = started(store)
    write(store, models, Record([like("person-4711", "i1", 1000)]))
    reader = sqlite3.connect(store.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM users").fetchone()
    store._connection.execute("PRAGMA busy_timeout = 0")

    [held] = write(store, models, ForgetUsers(["person-4711"]))
    reader.close()
    [again] = write(store, models, ForgetUsers(["person-4711"]))

    assert isinstance(held, Unavailable)
    assert again == 0
    assert b"person-4711" not in b"".join(path.read_bytes() for path in store.path.parent.iterdir())


def test_what_is_not_there_is_said_by_name(store: Store) -> None:
    models = started(store)
    write(store, models, DeleteItems(["i5"]))

    for item in ("i5", "unheard of"):
        with pytest.raises(ItemNotFound, match=item):
            models.similar_items(item, ShelfOptions(model="ease"))
        with pytest.raises(ItemNotFound, match=item):
            models.description_of(item)
    assert "i5" not in scores_of(shelf(models, Query("somebody new"), n=100))


CATALOGUE = Catalogue(
    [
        ItemAttributes(tags=("x", "y"), numbers={"year": 1990.0}),
        ItemAttributes(tags=("x",), numbers={"year": 2000.0}, available=False),
        ItemAttributes(tags=("z",)),
        None,
    ]
)


@pytest.mark.parametrize(
    ("conditions", "places"),
    [
        (ItemFilter(), [0, 2]),
        (ItemFilter(include_unavailable=True), [0, 1, 2]),
        (ItemFilter(any_tags=("y", "z")), [0, 2]),
        (ItemFilter(all_tags=("x", "y")), [0]),
        (ItemFilter(none_tags=("x",)), [2]),
        (ItemFilter(ranges=(NumberRange("year", 1990.0, 1999.0),)), [0]),
        (ItemFilter(ranges=(NumberRange("year", least=1991.0),), include_unavailable=True), [1]),
        (ItemFilter(ranges=(NumberRange("price"),)), []),
        (ItemFilter(all_tags=("unheard of",)), []),
    ],
)
def test_filters(conditions: ItemFilter, places: list[int]) -> None:
    assert np.flatnonzero(CATALOGUE.allowed(conditions)).tolist() == places


def test_diversity_takes_what_is_unlike(tmp_path: Path) -> None:
    store = Store(tmp_path / "other")
    store.upsert_items({f"i{i}": ItemAttributes(tags=("x" if i < 4 else "y",)) for i in range(6)})
    store.record([like(f"u{u}", f"i{i}", 10 * u + i) for u in range(6) for i in range(6 - u)])
    models = started(store)
    store.close()

    plain = [item.item for item in shelf(models, Query(), n=2).items]
    unlike = [item.item for item in shelf(models, Query(), n=2, diversity=0.7).items]

    assert plain == ["i0", "i1"]
    assert unlike == ["i0", "i4"]


def test_a_diverse_shelf_may_hold_an_item_that_has_only_just_come(store: Store) -> None:
    models = started(store)
    [news] = carry_out(store, [Record([like("a", "new", 900)])]).news
    models.learn(news)

    before = shelf(models, Query("u1"), diversity=0.5, n=20)
    update = models.features_update()
    [news] = carry_out(store, [Record([like("a", "newer", 901)])]).news
    models.learn(news)
    assert update is not None
    models.adopt_features(update.computed())
    after = shelf(models, Query("u1"), diversity=0.5, n=20)

    assert "new" in {item.item for item in before.items}
    assert {"new", "newer"} <= {item.item for item in after.items}
