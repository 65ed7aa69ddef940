"""Beyond the limit of liked items the models of item pairs are not there, and say so; the others go on."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from cuelight.server.errors import CuelightError, ModelNotReady, Unsupported
from cuelight.server.recommender.inverse_update import GramCopy
from cuelight.server.recommender.live_models import LiveModels
from cuelight.server.recommender.live_recommender import LiveRecommender
from cuelight.server.recommender.model_names import FITTED_NAMES
from cuelight.server.recommender.model_set import ModelSettings
from cuelight.server.recommender.models.als import ImplicitAls
from cuelight.server.recommender.shelves import Query, Shelf, ShelfOptions
from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.store import Store
from cuelight.server.recommender.writes import ForgetUsers, Record, carry_out
from cuelight.server.rpc.lifecycle import BackgroundTasks
from tests.server.recommender.test_live_models import started_with, write

LIMIT = 6
WHY = "7 items are liked by somebody, data.max_liked_items is 6"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path)
    opened.record([liked(f"u{u}", f"i{i}") for u in range(8) for i in range(6) if (u * i) % 3 != 1])
    yield opened
    opened.close()


def liked(user: str, item: str) -> Event:
    return Event(f"{user}/{item}", user, item, 1.0, 1.0)


def asked(models: LiveModels, **options: object) -> Shelf | Exception:
    [answer] = models.recommend([(Query("u1"), ShelfOptions(**options))])  # type: ignore[arg-type]
    return answer


def fitted_details(models: LiveModels) -> list[str]:
    """Return why each model cannot be asked, but for those that are trained apart."""
    details = models.details()
    return [details[name] for name in FITTED_NAMES]


def fit_als(models: LiveModels) -> None:
    table, forgets = models.table_for_als()
    models.adopt_als(ImplicitAls.fit(table, factors=2), forgets)


@pytest.mark.parametrize("crossing", ["at the start", "live", "live while the inverse is copied"])
def test_beyond_the_limit_what_can_serve_serves_on(store: Store, crossing: str) -> None:
    if crossing == "at the start":
        store.record([liked("u1", "one more")])
    models = started_with(store, ModelSettings(max_liked_items=LIMIT))
    update = None
    if crossing != "at the start":
        assert models.details()["ease"] == ""
        if crossing == "live while the inverse is copied":
            write_alone(store, models, Record([liked(f"u{n}", "i0") for n in range(100, 170)]))
            update = models.inverse_update()
            assert isinstance(update, GramCopy)
        write_alone(store, models, Record([liked("u1", "one more")]))
    if update is not None:
        while not models.prepared():
            pass
        models.adopt_inverse(update.computed())

    details = models.details()
    assert {name for name, detail in details.items() if WHY in detail} == {"item_cosine", "ease"}
    for refused in ("item_cosine", "ease"):
        answer = asked(models, model=refused)
        assert isinstance(answer, Unsupported)
        assert WHY in answer.message
    assert isinstance(asked(models, blend={"ease": 1.0, "popularity": 1.0}), Unsupported)
    [cold] = models.recommend([(Query("somebody new"), ShelfOptions("ease"))])
    assert isinstance(cold, Shelf) and cold.cold, "it needs no model"
    with pytest.raises(Unsupported, match="max_liked_items"):
        models.similarity_of_items("i1", "i2")
    for served in ("popularity", "user_cosine", "content_cosine"):
        assert isinstance(asked(models, model=served), Shelf)
    assert isinstance(asked(models), ModelNotReady), "the blend is of als, which is not fitted yet"
    fit_als(models)
    blend = asked(models)
    assert isinstance(blend, Shelf)
    assert blend.model == "hybrid"
    assert models.similar_items("i1", ShelfOptions(model="")).model == "content_cosine"
    assert models.inverse_update() is None
    assert models.inverse_learned == models.learned


def test_within_the_limit_nothing_is_said(store: Store) -> None:
    models = started_with(store, ModelSettings(max_liked_items=LIMIT))
    fit_als(models)

    assert not any(fitted_details(models))
    assert models.similar_items("i1", ShelfOptions(model="")).model == "item_cosine"
    write(store, models, Record([Event("low", "u1", "disliked", 0.0, 2.0)]))
    assert not any(fitted_details(models)), "what nobody likes takes no room"


def test_crossing_the_limit_harms_no_write_and_no_question(tmp_path: Path) -> None:
    async def scenario() -> None:
        tasks = BackgroundTasks()
        await tasks.start()
        recommender = LiveRecommender(tmp_path, None, 100, tasks.create, lambda: None, max_liked_items=20)
        failure = asyncio.ensure_future(tasks.failure())
        await recommender.open()
        await recommender.load()
        codes: set[type] = set()
        for n in range(40):
            await recommender.write(Record([liked(f"u{n % 5}", f"i{n}")]))
            try:
                await recommender.recommend(Query("u1"), ShelfOptions("ease"))
            except CuelightError as error:
                codes.add(type(error))
        assert await recommender.write(ForgetUsers(["u1"])) == 1
        assert codes == {Unsupported}
        assert not failure.done()
        failure.cancel()
        await tasks.stop()
        await recommender.stop()

    asyncio.run(asyncio.wait_for(scenario(), 60))


def write_alone(store: Store, models: LiveModels, *writes: Record) -> None:
    """Write, and leave the updates that follow to the test."""
    for news in carry_out(store, writes).news:
        models.learn(news)
