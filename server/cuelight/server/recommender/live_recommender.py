"""The recommender while it serves: the event loop's side of a store and of models, which have a thread each.

    write   waiting line -> store thread: one transaction, fsync -> model thread: learn -> acknowledged, watchers told
    read    waiting line -> model thread: all that wait, one matrix product a model; a single one that is short is made
            on the event loop while that thread is idle
    shown   noted on the event loop -> store thread, each second: who got which variant of an experiment, and what on it
    search  the same as a read with embeddings, on a thread of its own (`retrieval`)
    beside  EASE's inverse and the items' features follow in updates, ALS is fitted at the start, when enough is new and
            when somebody was forgotten: threads of their own, which the system lets run after those that answer;
            a sequential model that was trained is taken up: see trained/live_sequential.py

A write is acknowledged when it is durable and in the histories and counts, so whoever has the acknowledgement finds it
in the next answer. EASE's inverse, what others' feedback tells of items, follows within an update's time; a write that
forgets is acknowledged when the inverse has forgotten too, one that sets attributes when the features know them. All
who wait for an update wait for the same one.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cuelight.server.errors import ModelNotReady, Overloaded, Unavailable
from cuelight.server.recommender.als_fits import AlsFits
from cuelight.server.recommender.background import keep_to_one_core, step_back
from cuelight.server.recommender.experiments.exposure_log import ExposureLog
from cuelight.server.recommender.experiments.outcomes import Outcomes
from cuelight.server.recommender.follower import Follower
from cuelight.server.recommender.liking import LEAST_LIKED, plain_like
from cuelight.server.recommender.live_models import LiveModels
from cuelight.server.recommender.loading import loaded_from, outcomes_of, spaces_of
from cuelight.server.recommender.model_names import MAX_LIKED_ITEMS
from cuelight.server.recommender.model_set import ModelSettings
from cuelight.server.recommender.models_config import ModelsConfig
from cuelight.server.recommender.news import News
from cuelight.server.recommender.portions import PORTION_MS, expected_ms
from cuelight.server.recommender.retrieval.live_retrieval import LiveRetrieval
from cuelight.server.recommender.retrieval.questions import Nearest, NearestQuestion
from cuelight.server.recommender.shelves import Query, Shelf, ShelfOptions
from cuelight.server.recommender.short_shelves import ShortShelves
from cuelight.server.recommender.store.exposures import Exposed, VariantKey
from cuelight.server.recommender.store.outcomes import Outcome
from cuelight.server.recommender.store.store import Store
from cuelight.server.recommender.trained.live_sequential import LiveSequential
from cuelight.server.recommender.waiting_line import WaitingLine
from cuelight.server.recommender.work_thread import WorkThread
from cuelight.server.recommender.writes import DeleteItems, ForgetUsers, Record, UpsertItems, Write, carry_out

__all__ = ["LiveRecommender"]

_MAX_EVENTS_AT_ONCE = 1000

CreateTask = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
Result = TypeVar("Result")

_log = logging.getLogger("cuelight.recommender")


class LiveRecommender:
    """Owns the two lines and the threads; lives on the event loop."""

    def __init__(
        self,
        folder: Path,
        min_value: float | None,
        max_waiting: int,
        create_task: CreateTask,
        changed: Callable[[], None],
        shares: Mapping[str, Mapping[str, float]] | None = None,
        max_liked_items: int = MAX_LIKED_ITEMS,
        models: ModelsConfig | None = None,
    ) -> None:
        """`shares` are those of the experiments that run: by variant, by experiment."""
        self._folder = folder
        self._min_value = min_value
        self._settings = ModelSettings.of(models or ModelsConfig(), max_liked_items, reserves_counts=True)
        self._create_task = create_task
        self._changed = changed
        self._store_thread = ThreadPoolExecutor(1, thread_name_prefix="recommender store")
        self._model_thread = WorkThread("recommender models")
        self._short = ShortShelves()
        self._fit_threads = ThreadPoolExecutor(3, "recommender fits", step_back)
        self._writes: WaitingLine[Write, int] = WaitingLine(
            self._write, max_waiting, _MAX_EVENTS_AT_ONCE, size=_events_in
        )
        self._reads: WaitingLine[tuple[Query, ShelfOptions], Shelf] = WaitingLine(
            self._read, max_waiting, PORTION_MS, at_once=True, size=_expected_ms
        )
        self._watched: WaitingLine[tuple[Query, ShelfOptions], Shelf] = WaitingLine(
            self._read, max_waiting, PORTION_MS, size=_expected_ms
        )
        self._shares = shares or {}
        self._outcomes: Outcomes | None = None
        self.exposures = ExposureLog()
        """To note shelves of experiments in."""
        self._retrieval = LiveRetrieval(
            max_waiting, lambda conditions: self.ask_models(lambda models: models.allowed(conditions))
        )
        self._als = AlsFits(partial(self._on, self._fit_threads), self.ask_models, self._settings)
        self._inverse = Follower(self._update_inverse)
        self._features = Follower(self._update_features)
        self._store: Store | None = None
        self._models: LiveModels | None = None
        self._sequential: LiveSequential | None = None
        self.plain_like = LEAST_LIKED
        """The value of a plain like; known once the models are fitted."""
        self.ready = False

    async def open(self) -> None:
        """Take the data folder. Raises: ConfigError when it is in use or cannot be used."""
        self._store = await self._on(self._store_thread, partial(Store, self._folder))

    async def load(self) -> None:
        """Fit the models to what is stored, and begin to answer."""
        store = self._store
        assert store is not None, "load() before open()"
        loaded = await self._on(self._store_thread, partial(loaded_from, store, self._min_value))
        self.plain_like = plain_like(loaded.min_value)
        self._outcomes = await self._on(self._store_thread, partial(outcomes_of, store, loaded.min_value, self._shares))
        models = await self._model_thread.run(partial(LiveModels, loaded, self._settings))
        keep_to_one_core()
        await self._model_thread.run(models.fit)
        await self._retrieval.load(partial(spaces_of, loaded))
        self._models = models
        self._create_task(self._retrieval.serve(), "nearest items")
        self._create_task(self._retrieval.keep_graphs(), "graphs of embeddings")
        self._sequential = LiveSequential(
            self._folder,
            lambda question: self._on(self._store_thread, partial(question, store)),
            lambda question: self._model_thread.run(partial(question, models)),
            self._changed,
        )
        await self._sequential.look_or_warn()
        self._create_task(self._sequential.keep(), "sequential model")
        self._create_task(self._writes.serve(), "recommender writes")
        self._create_task(self._reads.serve(), "recommender reads")
        self._create_task(self._watched.serve(), "recommender watches")
        self._create_task(self._als.keep(), "ALS fits")
        self._create_task(self._inverse.keep(), "EASE refits")
        self._create_task(self._keep_exposures(), "recommender exposures")
        self._create_task(self._features.keep(), "features")
        self.ready = True
        self._als.outdated()
        self._inverse.outdated()
        self._changed()

    async def recommend(self, query: Query, options: ShelfOptions) -> Shelf:
        """Return a shelf. Raises: InvalidRequest, ModelNotFound, ModelNotReady, Overloaded, ShuttingDown."""
        self._check_ready()
        return await self._reads.ask((query, options))

    async def watched(self, query: Query, options: ShelfOptions) -> Shelf:
        """Return a shelf for somebody who watches: those stand in a line of their own, for every change wakes them all.

        Raises: as `recommend`.
        """
        self._check_ready()
        return await self._watched.ask((query, options))

    async def nearest(self, question: NearestQuestion) -> Nearest:
        """Return what is near. Raises: InvalidRequest, NotFound, ModelNotReady, Overloaded, ShuttingDown."""
        self._check_ready()
        return await self._retrieval.nearest(question)

    async def write(self, write: Write) -> int:
        """Return the write's answer once it is durable and learned. Raises: Overloaded, Unavailable, ShuttingDown."""
        self._check_ready()
        answer = await self._writes.ask(write)
        # Whoever waits for an update waits here, and not in the line: other writes go on.
        assert self._models is not None
        models, learned = self._models, self._models.learned
        if isinstance(write, ForgetUsers):
            self._inverse.outdated()
            await self._inverse.followed(lambda: models.inverse_learned >= learned)
        if isinstance(write, UpsertItems | DeleteItems):
            self._features.outdated()
            await self._features.followed(lambda: models.described >= learned)
        return answer

    async def ask_models(self, question: Callable[[LiveModels], Result]) -> Result:
        """Return what a function makes of the models, called on their thread. Raises: ModelNotReady, and its errors."""
        self._check_ready()
        assert self._models is not None
        return await self._model_thread.run(partial(question, self._models))

    async def ask_store(self, question: Callable[[Store], Result]) -> Result:
        """Return what a function makes of the store, called on its thread, after the writes under way.

        What was shown until now is in the store, too.
        """
        self._check_ready()
        assert self._store is not None
        await self._store_exposures()
        return await self._on(self._store_thread, partial(question, self._store))

    async def outcomes(self) -> Mapping[VariantKey, Outcome]:
        """Return what came of every variant until now. Raises: ModelNotReady."""
        return await self.ask_store(lambda _: self.counted_outcomes())

    def counted_outcomes(self) -> Mapping[VariantKey, Outcome]:
        """Return what is stored of what came of every variant, for metrics."""
        return self._outcomes.counts if self._outcomes is not None else {}

    def figures(self) -> dict[str, float]:
        """Return what is learned, what waits and how far EASE has drifted, for metrics."""
        models = self._models
        return {
            "version": models.version if models else 0,
            "inverse_behind": models.learned - models.inverse_learned if models else 0,
            "drift": models.drift if models else 0.0,
            "reads_waiting": self._reads.waiting + self._watched.waiting,
            "searches_waiting": self._retrieval.waiting,
            "writes_waiting": self._writes.waiting,
            "exposures_dropped": self.exposures.dropped,
        }

    async def stop(self) -> None:
        """Refuse whoever still waits, end the threads and let others have the folder."""
        self.ready = False
        self._writes.close()
        self._reads.close()
        self._watched.close()
        self._retrieval.close()
        if self._sequential is not None:
            self._sequential.close()
        if self._store is not None:
            await self._store_exposures()
            await self._on(self._store_thread, self._store.close)
        self._model_thread.close()
        for thread in (self._store_thread, self._fit_threads):
            thread.shutdown(wait=False, cancel_futures=True)

    def _check_ready(self) -> None:
        if not self.ready:
            raise ModelNotReady("the models are being fitted")

    async def _read(self, asked: Sequence[tuple[Query, ShelfOptions]]) -> Sequence[Shelf | Exception]:
        assert self._models is not None
        if len(asked) > 1:
            return await self._model_thread.run(partial(self._models.recommend, asked))
        return await self._read_one(*asked[0])

    async def _read_one(self, query: Query, options: ShelfOptions) -> Sequence[Shelf | Exception]:
        assert self._models is not None
        work = partial(_timed, partial(self._models.recommend, [(query, options)]))
        if not self._model_thread.idle:
            return (await self._model_thread.run(work))[0]
        kind = self._short.kind(options, self._models.history_length(query))
        if kind is None:
            return (await self._model_thread.run(work))[0]
        shelf, took_s = work() if self._short.is_short(kind) else await self._model_thread.run(work)
        self._short.took(kind, took_s)
        return shelf

    async def _write(self, writes: Sequence[Write]) -> Sequence[int | Exception]:
        forgotten = {user for write in writes if isinstance(write, ForgetUsers) for user in write.ids}
        with self.exposures.forgetting(forgotten):
            return await self._written(writes)

    async def _written(self, writes: Sequence[Write]) -> Sequence[int | Exception]:
        assert self._store is not None
        assert self._models is not None
        try:
            written = await self._on(self._store_thread, partial(carry_out, self._store, writes, self._outcomes))
            als_due = await self._model_thread.run(partial(_learn, self._models, written.news))
            for news in written.news:
                await self._retrieval.learn(news.embeddings)
        except Exception as error:
            # The store knows what the models do not: to answer on would be wrong, a new start is right again.
            self._create_task(_fail(error), "learning")
            raise
        self._inverse.outdated()
        if any(news.attributes or news.items for news in written.news):
            self._features.outdated()
        forgets = any(news.forgotten for news in written.news)
        if als_due:
            self._als.outdated()
        if forgets:
            self._als.forgotten()
        self._changed()
        return await self._without_their_models(writes, written.answers) if forgets else written.answers

    async def _without_their_models(
        self, writes: Sequence[Write], answers: Sequence[int | Exception]
    ) -> Sequence[int | Exception]:
        """Let go of a trained model that knew somebody who was forgotten; what fails of it fails their calls alone."""
        assert self._sequential is not None
        try:
            await self._sequential.forgotten()
        except Unavailable as error:
            return [
                error if isinstance(write, ForgetUsers) and not isinstance(answer, Exception) else answer
                for write, answer in zip(writes, answers, strict=True)
            ]
        return answers

    async def _update_inverse(self) -> bool:
        """Let EASE's inverse know what is learned; return whether it did not."""
        update = await self.ask_models(LiveModels.inverse_update)
        if update is None:
            return False
        while not await self.ask_models(LiveModels.prepared):
            pass
        inverse = await self._on(self._fit_threads, update.computed)
        await self.ask_models(partial(LiveModels.adopt_inverse, inverse=inverse))
        self._changed()
        return True

    async def _update_features(self) -> bool:
        """Let the items' features know attributes that came; return whether they did not."""
        update = await self.ask_models(LiveModels.features_update)
        if update is None:
            return False
        features = await self._on(self._fit_threads, update.computed)
        await self.ask_models(partial(LiveModels.adopt_features, features=features))
        self._changed()
        return True

    async def _keep_exposures(self) -> None:
        """Store what was shown, a second after it was."""
        while True:
            await self.exposures.due.wait()
            await self._store_exposures()

    async def _store_exposures(self) -> None:
        """Store what was shown and is not stored yet; on a full disk it waits for the next time.

        Between taking it and handing it to the store's thread nothing can come: who is forgotten next is forgotten
        after it is stored.
        """
        if self._outcomes is None:
            return
        for _ in range(self.exposures.parts()):
            exposed = self.exposures.take()
            work = partial(self._outcomes.expose, exposed)
            storing = asyncio.get_running_loop().run_in_executor(self._store_thread, work)
            storing.add_done_callback(partial(self._exposures_stored, exposed))
            await asyncio.wait([storing])  # whoever waits may leave, and it is stored all the same

    def _exposures_stored(self, exposed: Sequence[Exposed], storing: "asyncio.Future[None]") -> None:
        error = None if storing.cancelled() else storing.exception()
        if isinstance(error, Overloaded):
            self.exposures.put_back(exposed)
            _log.warning("exposures are kept in memory: %s", error.message)
        elif isinstance(error, Exception):
            self._create_task(_fail(error), "exposures")

    async def _on(self, thread: ThreadPoolExecutor, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(thread, work)


def _expected_ms(asked: tuple[Query, ShelfOptions]) -> float:
    return expected_ms(asked[1])


def _events_in(write: Write) -> int:
    return len(write.events) if isinstance(write, Record) else 1


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    started_s = time.perf_counter()
    return work(), time.perf_counter() - started_s


def _learn(models: LiveModels, told: Sequence[News]) -> bool:
    """Return whether ALS is due then."""
    for news in told:
        models.learn(news)
    return models.als_due()


async def _fail(error: Exception) -> None:
    raise error
