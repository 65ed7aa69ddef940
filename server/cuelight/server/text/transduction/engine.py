"""The engine of one encoder-decoder model: the decoder steps of many requests in one batch, token by token.

    submit -> waiting -> (a turn: let go, admit, step: a token for every row) -> news -> the caller's updates

A *turn* is what the engine does, on its thread, between two looks at the queue. Before the step it lets go of the rows
of those whose caller has left or whose deadline has passed, and takes in those that wait as far as they fit: requests
join and leave between any two tokens. A hypothesis is a row; what a row gets does not depend on its company: see
`decoder`.
A turn of so few rows that its step takes less than a hop to the thread and back runs on the event loop.

The queue belongs to the event loop; rows and searches belong to the turn that runs, and there is one at a time. A
request that cannot begin fails alone; a step that fails fails those in it, and the engine goes on.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from cuelight.server.errors import CuelightError, DeadlineExceeded, InferenceFailed, Overloaded, ShuttingDown
from cuelight.server.text.transduction.decoder import Decoder
from cuelight.server.text.transduction.job import Job, News
from cuelight.server.text.transduction.rows import Rows
from cuelight.server.text.transduction.search import Array, Search

__all__ = ["TransductionEngine"]

_RETRY_AFTER_S = 0.1

_log = logging.getLogger("cuelight.text")


class TransductionEngine:
    """One decoder with its thread; `max_rows` hypotheses are stepped at once, `max_waiting` requests wait."""

    def __init__(self, name: str, decoder: Decoder, max_rows: int, max_waiting: int) -> None:
        self.max_rows = max_rows
        self._name = name
        self._decoder = decoder
        self._max_waiting = max_waiting
        self._loop = asyncio.get_running_loop()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cuelight-text")
        self._waiting: deque[Job] = deque()
        self._open: set[Job] = set()
        """Jobs whose caller has not got the last of it."""
        self._visitors = 0
        self._settled = asyncio.Event()
        self._running = False
        self._closed = False
        self._jobs: list[Job] = []
        """Whose rows those of `_rows` are, in order."""
        self._rows: Rows | None = None
        self.steps = 0
        self.stepped_rows = 0
        """Rows over steps is the mean size of a batch."""

    @property
    def load(self) -> int:
        """How many callers are here: their texts are encoded, wait or are decoded."""
        return self._visitors

    @property
    def waiting(self) -> int:
        """How many texts wait for room among the rows."""
        return len(self._waiting)

    @contextmanager
    def visit(self) -> Iterator[None]:
        """Keep the engine open for a caller, from before its text is encoded until it has all of its answer."""
        self._visitors += 1
        try:
            yield
        finally:
            self._visitors -= 1
            if not self._visitors:
                self._settled.set()

    def submit(
        self,
        encoded: Mapping[str, NDArray[Any]],
        length: int,
        search: Search,
        attention: bool = False,
        deadline_s: float | None = None,
    ) -> Job:
        """Queue a search over what the encoder made of `length` symbols. Call `leave` in the end, however it ends.

        Raises: Overloaded, ShuttingDown.
        """
        self.check_room()
        job = Job(encoded, length, search, attention, deadline_s)
        self._open.add(job)
        self._waiting.append(job)
        if not self._running:
            # At the end of the loop's turn, so that requests that come in one turn begin together.
            self._running = True
            self._loop.call_soon(self._start_turn)
        return job

    def check_room(self) -> None:
        """Raise Overloaded when as many requests wait as may, ShuttingDown when the engine is closed."""
        if self._closed:
            raise ShuttingDown(f'model "{self._name}" is being unloaded')
        if len(self._waiting) >= self._max_waiting:
            raise Overloaded(
                f'model "{self._name}": {len(self._waiting)} texts wait, its queue is full', _RETRY_AFTER_S
            )

    def leave(self, job: Job) -> None:
        """Let go of a job: its caller has all of it, or has gone."""
        job.left = True
        self._open.discard(job)
        if not job.admitted and not self._closed:
            self._waiting.remove(job)

    async def outlive(self) -> None:
        """Return once no caller is here."""
        while self._visitors and not self._closed:
            self._settled.clear()
            await self._settled.wait()

    def close(self) -> None:
        """Answer all it holds with ShuttingDown and end the thread after the step in progress. May be called twice."""
        if self._closed:
            return
        self._closed = True
        for job in self._open:
            job.tell(News(error=ShuttingDown(f'model "{self._name}" is being unloaded')))
        self._settled.set()
        self._executor.shutdown(wait=False)

    def _start_turn(self) -> None:
        if self._closed or not (self._waiting or self._jobs):
            self._running = False
            return
        joining = self._joining()
        if sum(job.search.width for job in (*self._jobs, *joining)) <= self._decoder.inline_rows:
            for job, news in self._turn(joining):
                job.tell(news)
            self._loop.call_soon(self._start_turn)
            return
        turn = self._loop.run_in_executor(self._executor, self._turn, joining)
        turn.add_done_callback(self._turned)

    def _joining(self) -> list[Job]:
        """Take those that wait, first come first served, for as long as all their hypotheses fit."""
        taken = sum(job.search.width for job in self._jobs)
        joining: list[Job] = []
        while self._waiting and taken + self._waiting[0].search.width <= self.max_rows:
            job = self._waiting.popleft()
            job.admitted = True
            joining.append(job)
            taken += job.search.width
        return joining

    def _turned(self, turn: "asyncio.Future[list[tuple[Job, News]]]") -> None:
        if turn.cancelled():
            return
        for job, news in turn.result():
            job.tell(news)
        self._start_turn()

    # On the engine's thread from here on, or on the event loop.

    def _turn(self, joining: list[Job]) -> list[tuple[Job, News]]:
        news: list[tuple[Job, News]] = []
        self._let_go(news)
        self._admit(joining, news)
        if self._rows is not None:
            self._step(self._rows, news)
        return news

    def _let_go(self, news: list[tuple[Job, News]]) -> None:
        """Drop the rows of those who have left or whom no answer can reach in time."""
        stay = [job for job in self._jobs if not _over(job, news)]
        if len(stay) == len(self._jobs) or self._rows is None:
            return
        kept: list[int] = []
        at = 0
        for job in self._jobs:
            count = len(job.search.last_tokens)
            kept += range(at, at + count) if job in stay else ()
            at += count
        self._jobs = stay
        self._rows = self._rows.picked(kept, owners_stay=False) if stay else None

    def _admit(self, joining: list[Job], news: list[tuple[Job, News]]) -> None:
        rows = [self._rows] if self._rows is not None else []
        for job in joining:
            if _over(job, news):
                continue
            try:
                rows.append(self._decoder.begin(job.encoded, job.length))
                self._jobs.append(job)
            except Exception as error:  # the batch boundary
                news.append((job, News(error=self._failure(error))))
        self._rows = Rows.joined(rows) if rows else None

    def _step(self, rows: Rows, news: list[tuple[Job, News]]) -> None:
        tokens = [token for job in self._jobs for token in job.search.last_tokens]
        try:
            rows, log_probs, attention = self._decoder.step(rows, tokens, any(job.attention for job in self._jobs))
            self.steps += 1
            self.stepped_rows += len(tokens)
            self._grow(rows, log_probs, attention, news)
        except Exception as error:  # the batch boundary
            news += [(job, News(error=self._failure(error))) for job in self._jobs]
            self._rows, self._jobs = None, []

    def _grow(self, rows: Rows, log_probs: Array, attention: Array | None, news: list[tuple[Job, News]]) -> None:
        """Let every search take its rows of the step, and keep the rows that its hypotheses go on from."""
        chosen: list[int] = []
        at = 0
        owners_stay = True
        for job in self._jobs:
            count = len(job.search.last_tokens)
            looked = None
            if job.attention and attention is not None:
                looked = attention[at : at + count, : job.length].copy()
            parents = job.search.advance(log_probs[at : at + count], looked)
            chosen += [at + parent for parent in parents]
            owners_stay = owners_stay and len(parents) == count
            at += count
            settled = job.search.settled()
            found = tuple(job.search.best()) if job.search.done else ()
            if len(settled) > job.sent or found:
                news.append((job, News(tuple(settled[job.sent :]), found)))
                job.sent = len(settled)
        self._jobs = [job for job in self._jobs if not job.search.done]
        self._rows = rows.picked(chosen, owners_stay) if chosen else None

    def _failure(self, error: Exception) -> Exception:
        if isinstance(error, CuelightError):
            return error
        _log.warning("model %s failed on a step of its decoder", self._name, exc_info=error)
        return InferenceFailed(f'model "{self._name}" failed to run this request')


def _over(job: Job, news: list[tuple[Job, News]]) -> bool:
    """Whether nothing is to be computed for a job any more."""
    if job.left:
        return True
    if job.late:
        news.append((job, News(error=DeadlineExceeded("the deadline passed before the text was transduced"))))
        return True
    return False
