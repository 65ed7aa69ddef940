"""Questions and writes all at once: what is acknowledged is in the next answer, and no filter ever leaks."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from cuelight.server.errors import ConfigError, ModelNotReady
from cuelight.server.recommender.catalogue import ItemFilter
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.interaction_table import InteractionTable
from cuelight.server.recommender.liking import liked_rows
from cuelight.server.recommender.live_models import LiveModels
from cuelight.server.recommender.live_recommender import LiveRecommender
from cuelight.server.recommender.model_set import ModelSettings, fit_als
from cuelight.server.recommender.models_config import ModelsConfig
from cuelight.server.recommender.shelves import Query, ShelfOptions
from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.store import Store
from cuelight.server.recommender.writes import DeleteItems, ForgetUsers, Record, UpsertItems
from cuelight.server.rpc.lifecycle import BackgroundTasks

N_ITEMS = 40
MODELS = ("ease", "item_cosine", "user_cosine", "hybrid", "popularity")


@asynccontextmanager
async def running(
    folder: Path, load: bool = True, models: ModelsConfig | None = None
) -> AsyncIterator[LiveRecommender]:
    """Run a recommender; every test also proves that no background task died."""
    tasks = BackgroundTasks()
    await tasks.start()
    recommender = LiveRecommender(folder, None, 4096, tasks.create, lambda: None, models=models)
    failure = asyncio.ensure_future(tasks.failure())
    try:
        await recommender.open()
        if load:
            await recommender.load()
        yield recommender
    finally:
        await asyncio.sleep(0)
        died = failure.done() and failure.result()
        failure.cancel()
        await tasks.stop()
        await recommender.stop()
    assert not died


def play(folder: Path, scenario: Callable[[LiveRecommender], Awaitable[None]]) -> None:
    async def run() -> None:
        async with running(folder) as recommender:
            await asyncio.wait_for(scenario(recommender), 60)

    asyncio.run(run())


def tagged(item: int) -> ItemAttributes:
    return ItemAttributes(f"Song {item}", ("even" if item % 2 == 0 else "odd",))


def test_what_models_are_fitted_with_is_what_shelves_are_made_with(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.record([Event(f"{u} old", f"u{u}", "old", 1.0, 0.0) for u in range(3)])
    store.record([Event("new", "u9", "new", 1.0, 1000.0)])
    store.close()

    async def most_popular(models: ModelsConfig | None) -> list[str]:
        async with running(tmp_path, models=models) as recommender:
            shelf = await recommender.recommend(Query("nobody"), ShelfOptions(model="popularity"))
            return [item.item for item in shelf.items]

    assert asyncio.run(most_popular(None)) == ["old", "new"]
    assert asyncio.run(most_popular(ModelsConfig(half_life_s=100.0))) == ["new", "old"]


def test_als_is_fitted_with_what_is_set_while_the_server_serves(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.record([Event(f"{u} {i}", f"u{u}", f"i{i}", 1.0, 0.0) for u in range(6) for i in range(8) if (u + i) % 3])
    rows = liked_rows(store, 1.0)
    store.close()
    expected = fit_als(InteractionTable(8, rows), ModelSettings(als_factors=3, als_alpha=5.0))

    async def scores() -> list[float]:
        async with running(tmp_path, models=ModelsConfig(als_factors=3, als_alpha=5.0)) as recommender:
            while (await recommender.ask_models(LiveModels.details))["als"]:
                pass
            shelf = await recommender.recommend(Query("u0"), ShelfOptions(model="als"))
            return [item.score for item in shelf.items]

    unseen = np.delete(expected.scores([rows[0]])[0], rows[0].items)
    assert asyncio.run(scores()) == pytest.approx(sorted(unseen, reverse=True), abs=1e-6)


class Player:
    """A user who likes one thing after another, and checks every answer against what was acknowledged."""

    def __init__(self, recommender: LiveRecommender, name: str) -> None:
        self._recommender = recommender
        self._name = name
        self._random = random.Random(name)
        self._seen: set[str] = set()
        self.answers = 0

    async def play(self, rounds: int) -> None:
        for number in range(rounds):
            item = f"i{self._random.randrange(N_ITEMS)}"
            taken_back = item in self._seen and self._random.random() < 0.5
            value = None if taken_back else 1.0
            event = Event(f"{self._name}/{number}", self._name, item, value, 1000.0 + number)
            await self._recommender.write(Record([event]))
            (self._seen.discard if taken_back else self._seen.add)(item)
            await self._check()

    async def _check(self) -> None:
        options = ShelfOptions(
            self._random.choice(MODELS), n=N_ITEMS, conditions=ItemFilter(any_tags=("even",)), explain=True
        )
        shelf = await self._recommender.recommend(Query(self._name), options)
        shown = {item.item for item in shelf.items}
        assert not shown & self._seen, "what was seen is on the shelf"
        assert {int(item[1:]) % 2 for item in shown} <= {0}, "the filter leaked"
        assert shelf.cold or self._seen
        assert shelf.cold or any(item.score for item in shelf.items)
        for item in shelf.items:
            assert sum(reason.share for reason in item.reasons) == pytest.approx(item.score, abs=1e-9)
            assert {reason.item for reason in item.reasons} - {None} <= self._seen
        self.answers += 1


def test_a_hammer_of_players_never_sees_a_leak(tmp_path: Path) -> None:
    async def scenario(recommender: LiveRecommender) -> None:
        await recommender.write(UpsertItems({f"i{i}": tagged(i) for i in range(N_ITEMS)}))
        players = [Player(recommender, f"player {n}") for n in range(12)]
        passing = [
            asyncio.create_task(recommender.write(write))
            for n in range(20)
            for write in (
                Record([Event(f"passing {n}", f"passer-by {n % 3}", f"i{n}", 1.0, 1.0)]),
                ForgetUsers([f"passer-by {n % 3}"]),
                UpsertItems({f"i{n}": tagged(n), f"new {n}": ItemAttributes(tags=("odd",))}),
                DeleteItems([f"new {n}"]),
            )
        ]

        await asyncio.gather(*(player.play(25) for player in players), *passing)

        assert [player.answers for player in players] == [25] * 12

    play(tmp_path, scenario)
    store = Store(tmp_path)
    assert {user for user in store.users if user.startswith("player")} == {f"player {n}" for n in range(12)}
    assert store.count_events() >= 12 * 25
    store.close()


def bytes_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def test_a_write_that_forgets_returns_when_the_inverse_and_the_files_have_forgotten(tmp_path: Path) -> None:
    async def scenario(recommender: LiveRecommender) -> None:
        await recommender.write(Record([Event(f"{n}", f"u{n % 5}", f"i{n % 7}", 1.0, 1.0) for n in range(30)]))
        await recommender.write(Record([Event("secret", "person-4711", "i1", 1.0, 1.0)]))

        assert await recommender.write(ForgetUsers(["person-4711"])) == 1

        assert await recommender.ask_models(LiveModels.inverse_update) is None, "the inverse does not know yet"
        assert recommender.figures()["inverse_behind"] == 0
        assert b"person-4711" not in bytes_in(tmp_path)

    play(tmp_path, scenario)


def test_nothing_is_answered_before_the_models_are_fitted(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path, load=False) as recommender:
            with pytest.raises(ModelNotReady):
                await recommender.recommend(Query("u"), ShelfOptions())
            with pytest.raises(ModelNotReady):
                await recommender.ask_models(LiveModels.counts)

    asyncio.run(run())


def test_a_folder_in_use_is_refused_and_free_again_afterwards(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path):
            other = LiveRecommender(tmp_path, None, 1, lambda work, name: asyncio.create_task(work), lambda: None)
            with pytest.raises(ConfigError, match="in use"):
                await other.open()
            await other.stop()

    asyncio.run(run())
    Store(tmp_path).close()
