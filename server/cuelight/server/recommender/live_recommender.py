"""The recommender while it serves: the event loop's side of a store and of models, which have a thread each.

    write   waiting line -> store thread: one transaction, fsync -> model thread: learn -> acknowledged, watchers told
    read    waiting line -> model thread: all that wait, one matrix product a model
    beside  EASE's inverse follows in updates, ALS is fitted at the start and when somebody was forgotten: a thread each
            a sequential model that was trained is taken up: see trained/live_sequential.py

A write is acknowledged when it is durable and in the histories and counts, so whoever has the acknowledgement finds it
in the next answer. EASE's inverse, what others' feedback tells of items, follows within an update's time; a write that
forgets is acknowledged when the inverse has forgotten too.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cuelight.server.errors import ModelNotReady
from cuelight.server.recommender.liking import MIN_VALUE, liked_rows, min_value_of
from cuelight.server.recommender.live_models import LiveModels, Loaded
from cuelight.server.recommender.models.als import ImplicitAls
from cuelight.server.recommender.shelves import Query, Shelf, ShelfOptions
from cuelight.server.recommender.store.store import Store
from cuelight.server.recommender.trained.live_sequential import LiveSequential
from cuelight.server.recommender.waiting_line import WaitingLine
from cuelight.server.recommender.writes import ForgetUsers, Write, carry_out
from cuelight.server.rpc.changes import Changes

__all__ = ["LiveRecommender"]

_MAX_READS_AT_ONCE = 256
_MAX_WRITES_AT_ONCE = 256

CreateTask = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
Result = TypeVar("Result")


class LiveRecommender:
    """Owns the two lines and the threads; lives on the event loop."""

    def __init__(
        self,
        folder: Path,
        min_value: float | None,
        max_waiting: int,
        create_task: CreateTask,
        changed: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._min_value = min_value
        self._create_task = create_task
        self._changed = changed
        self._store_thread = ThreadPoolExecutor(1, thread_name_prefix="recommender store")
        self._model_thread = ThreadPoolExecutor(1, thread_name_prefix="recommender models")
        self._fit_thread = ThreadPoolExecutor(2, thread_name_prefix="recommender fits")
        self._writes: WaitingLine[Write, int] = WaitingLine(self._write, max_waiting, _MAX_WRITES_AT_ONCE)
        self._reads: WaitingLine[tuple[Query, ShelfOptions], Shelf] = WaitingLine(
            self._read, max_waiting, _MAX_READS_AT_ONCE
        )
        self._als_outdated = asyncio.Event()
        self._inverse_outdated = asyncio.Event()
        self._inverse_follows = Changes()
        self._store: Store | None = None
        self._models: LiveModels | None = None
        self._sequential: LiveSequential | None = None
        self.ready = False

    async def open(self) -> None:
        """Take the data folder. Raises: ConfigError when it is in use or cannot be used."""
        self._store = await self._on(self._store_thread, partial(Store, self._folder))

    async def load(self) -> None:
        """Fit the models to what is stored, and begin to answer."""
        store = self._store
        assert store is not None, "load() before open()"
        loaded = await self._on(self._store_thread, partial(_loaded, store, self._min_value))
        models = LiveModels(loaded)
        await self._on(self._model_thread, models.fit)
        self._models = models
        self._sequential = LiveSequential(
            self._folder,
            lambda question: self._on(self._store_thread, partial(question, store)),
            lambda question: self._on(self._model_thread, partial(question, models)),
            self._changed,
        )
        await self._sequential.look()
        self._create_task(self._sequential.keep(), "sequential model")
        self._create_task(self._writes.serve(), "recommender writes")
        self._create_task(self._reads.serve(), "recommender reads")
        self._create_task(self._keep_als(), "ALS fits")
        self._create_task(self._keep_inverse(), "EASE refits")
        self.ready = True
        self._als_outdated.set()
        self._changed()

    async def recommend(self, query: Query, options: ShelfOptions) -> Shelf:
        """Return a shelf. Raises: InvalidRequest, ModelNotFound, ModelNotReady, Overloaded, ShuttingDown."""
        self._check_ready()
        return await self._reads.ask((query, options))

    async def write(self, write: Write) -> int:
        """Return the write's answer once it is durable and learned. Raises: Overloaded, Unavailable, ShuttingDown."""
        self._check_ready()
        return await self._writes.ask(write)

    async def ask_models(self, question: Callable[[LiveModels], Result]) -> Result:
        """Return what a function makes of the models, called on their thread. Raises: ModelNotReady, and its errors."""
        self._check_ready()
        assert self._models is not None
        return await self._on(self._model_thread, partial(question, self._models))

    async def ask_store(self, question: Callable[[Store], Result]) -> Result:
        """Return what a function makes of the store, called on its thread, after the writes under way."""
        self._check_ready()
        assert self._store is not None
        return await self._on(self._store_thread, partial(question, self._store))

    def figures(self) -> dict[str, float]:
        """Return what is learned, what waits and how far EASE has drifted, for metrics."""
        models = self._models
        return {
            "version": models.version if models else 0,
            "inverse_behind": models.learned - models.inverse_learned if models else 0,
            "drift": models.drift if models else 0.0,
            "reads_waiting": self._reads.waiting,
            "writes_waiting": self._writes.waiting,
        }

    async def stop(self) -> None:
        """Refuse whoever still waits, end the threads and let others have the folder."""
        self.ready = False
        self._writes.close()
        self._reads.close()
        if self._sequential is not None:
            self._sequential.close()
        if self._store is not None:
            await self._on(self._store_thread, self._store.close)
        for thread in (self._store_thread, self._model_thread, self._fit_thread):
            thread.shutdown(wait=False, cancel_futures=True)

    def _check_ready(self) -> None:
        if not self.ready:
            raise ModelNotReady("the models are being fitted")

    async def _read(self, asked: Sequence[tuple[Query, ShelfOptions]]) -> Sequence[Shelf | Exception]:
        assert self._models is not None
        return await self._on(self._model_thread, partial(self._models.recommend, asked))

    async def _write(self, writes: Sequence[Write]) -> Sequence[int | Exception]:
        assert self._store is not None
        assert self._models is not None
        written = await self._on(self._store_thread, partial(carry_out, self._store, writes))
        try:
            for news in written.news:
                await self._on(self._model_thread, partial(self._models.learn, news))
        except Exception as error:
            # The store knows what the models do not: to answer on would be wrong, a new start is right again.
            self._create_task(_fail(error), "learning")
            raise
        self._inverse_outdated.set()
        if await self._on(self._model_thread, self._models.als_due):
            self._als_outdated.set()
        if any(isinstance(write, ForgetUsers) for write in writes):
            self._als_outdated.set()
            if self._sequential is not None:
                await self._sequential.forgotten()
            await self._inverse_knows(self._models.learned)
        self._changed()
        return written.answers

    async def _keep_als(self) -> None:
        """Fit ALS whenever it is due or somebody was forgotten."""
        while True:
            await self._als_outdated.wait()
            self._als_outdated.clear()
            table, forgets = await self.ask_models(LiveModels.table_for_als)
            fitted = await self._on(self._fit_thread, partial(ImplicitAls.fit, table))
            await self.ask_models(partial(LiveModels.adopt_als, model=fitted, forgets=forgets))

    async def _keep_inverse(self) -> None:
        """Let EASE's inverse follow what is learned: all that came while it was computed is the next update."""
        while True:
            await self._inverse_outdated.wait()
            self._inverse_outdated.clear()
            while found := await self.ask_models(LiveModels.inverse_update):
                update, learned = found
                inverse = await self._on(self._fit_thread, update.computed)
                await self.ask_models(partial(LiveModels.adopt_inverse, inverse=inverse, learned=learned))
                self._inverse_follows.notify()
                self._changed()
            self._inverse_follows.notify()

    async def _inverse_knows(self, learned: int) -> None:
        """Return once EASE's inverse knows so many writes."""
        assert self._models is not None
        while True:
            followed = self._inverse_follows.next()
            if self._models.inverse_learned >= learned:
                return
            await followed.wait()

    async def _on(self, thread: ThreadPoolExecutor, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(thread, work)


async def _fail(error: Exception) -> None:
    raise error


def _loaded(store: Store, min_value: float | None) -> Loaded:
    if min_value is not None:
        store.set_setting(MIN_VALUE, min_value)
    least = min_value_of(store)
    return Loaded(
        dict(store.users), dict(store.items), liked_rows(store, least), store.attributes(), least, store.last_sequence()
    )
