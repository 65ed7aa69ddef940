"""Retrieval while the recommender serves: the event loop's side of the spaces, which have a thread of their own.

    question   [filter: the model thread says which items are allowed] -> waiting line -> search thread: all that wait
    write      store -> model thread -> search thread -> acknowledged: the next question finds it

    beside     what graphs of large spaces have to take in: much on a thread of its own, little between searches

A search takes a millisecond or more and does not hold the models up, nor they it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.catalogue import ItemFilter
from cuelight.server.recommender.embeddings import ItemEmbeddings
from cuelight.server.recommender.retrieval.questions import Nearest, NearestQuestion
from cuelight.server.recommender.retrieval.spaces import Spaces
from cuelight.server.recommender.waiting_line import WaitingLine
from cuelight.server.recommender.work_thread import WorkThread

__all__ = ["LiveRetrieval"]

_MAX_QUESTIONS_AT_ONCE = 32
_AVAILABILITY_ALONE = (ItemFilter(), ItemFilter(include_unavailable=True))

Allowed = Callable[[ItemFilter], Awaitable[NDArray[np.bool_]]]


class LiveRetrieval:
    """Owns the line and the thread; lives on the event loop. `allowed` tells which items meet conditions, by place."""

    def __init__(self, max_waiting: int, allowed: Allowed) -> None:
        self._allowed = allowed
        self._thread = WorkThread("recommender searches")
        self._line: WaitingLine[NearestQuestion, Nearest] = WaitingLine(
            self._answer, max_waiting, _MAX_QUESTIONS_AT_ONCE, at_once=True
        )
        self._graph_thread = ThreadPoolExecutor(1, thread_name_prefix="recommender graphs")
        self._changed = asyncio.Event()
        self._spaces: Spaces | None = None

    @property
    def waiting(self) -> int:
        """How many questions wait and are not being answered yet."""
        return self._line.waiting

    async def load(self, spaces: Callable[[], Spaces]) -> None:
        """Build the spaces, on their thread."""
        self._spaces = await self._thread.run(spaces)
        self._changed.set()

    async def serve(self) -> None:
        """Answer until cancelled."""
        await self._line.serve()

    async def keep_graphs(self) -> None:
        """Let the graphs of large spaces follow what is told, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            assert self._spaces is not None
            while work := await self._thread.run(self._spaces.graph_work):
                await asyncio.get_running_loop().run_in_executor(self._graph_thread, work.carry_out)
            while await self._thread.run(self._spaces.step):
                pass

    async def nearest(self, question: NearestQuestion) -> Nearest:
        """Return what is near. Raises: InvalidRequest, NotFound, ItemNotFound, Overloaded, ShuttingDown."""
        if question.conditions not in _AVAILABILITY_ALONE:
            question = replace(question, allowed=await self._allowed(question.conditions))
        return await self._line.ask(question)

    async def learn(self, changed: Mapping[int, ItemEmbeddings | None]) -> None:
        """Take in items whose embeddings changed; on return the next question finds them."""
        assert self._spaces is not None, "learn() before load()"
        if changed:
            await self._thread.run(partial(self._spaces.learn, changed))
            self._changed.set()

    def close(self) -> None:
        """Refuse whoever waits and end the threads."""
        self._line.close()
        self._thread.close()
        self._graph_thread.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, questions: Sequence[NearestQuestion]) -> Sequence[Nearest | Exception]:
        assert self._spaces is not None, "asked before load()"
        return await self._thread.run(partial(self._spaces.answer, questions))
