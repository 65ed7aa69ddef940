"""The engine of an encoder-decoder model: windows of many voices, encoded one by one, their tokens decoded together.

    transcribe -> waiting -> (admit: encode, consume the draft) -> a cohort -> (step: a token for each of it) -> future

A *turn* is what the engine's thread does between two looks at the queue: it admits the window that is most urgent, if
one waits and there is room, and gives the cohort with the shortest past one token each, which so catches up with the
next one and joins it. A cohort that has been passed over for too long goes first. A caller that cancels leaves at the
end of the turn. A turn that fails fails those that took part in it; the others go on.

The queue belongs to the event loop; sessions and cohorts belong to the thread, and only the turn touches them.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from cuelight.server.errors import Overloaded, ShuttingDown
from cuelight.server.speech.segmented.decoding import Decode, Transcript, longest_tokens
from cuelight.server.speech.segmented.moonshine import START, Cohort, MoonshineModel
from cuelight.server.speech.voice import Samples

__all__ = ["SpeechEngine", "Urgency"]

_MAX_MEMBERS = 32
_LONGEST_WAIT_TURNS = 24
_MAX_WAITING = 1024
_RETRY_AFTER_S = 1.0
_SMOOTHING = 0.2


class Urgency:
    """Who goes first: a final result that somebody waits for, a live interim, a recording that is sent in one go."""

    FINAL, INTERIM, RECORDING = 0, 1, 2


@dataclass(slots=True, eq=False)
class _Job:
    samples: Samples
    decode: Decode
    future: "asyncio.Future[Transcript]"
    order: tuple[int, int]
    arrived_s: float
    done: bool = False


@dataclass(slots=True)
class _Batch:
    """A cohort, whose jobs its members are, and for how many turns it has been passed over."""

    cohort: Cohort
    jobs: list[_Job]
    passed_over: int = 0


@dataclass(slots=True)
class _Turn:
    """What a turn did: whose decode is over, and whose failed."""

    finished: list[_Job] = field(default_factory=list)
    failed: list[tuple[_Job, Exception]] = field(default_factory=list)


class SpeechEngine:
    """One model with its thread. Lives on the event loop, but for the turns."""

    def __init__(self, model: MoonshineModel, sample_rate_hz: int) -> None:
        self._model = model
        self._rate_hz = sample_rate_hz
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cuelight-speech")
        self._waiting: list[_Job] = []
        self._batches: list[_Batch] = []
        self._members: set[_Job] = set()
        self._count = 0
        self._running = False
        self._closed = False
        self._rested = asyncio.Event()
        self.turnaround_s = 0.0
        """How long a window has lately taken from its arrival to its transcript."""
        self.steps = 0
        self.stepped_tokens = 0
        """Tokens over steps is the mean size of a batch."""

    @property
    def load(self) -> int:
        """How many windows wait or are decoded."""
        return len(self._waiting) + len(self._members)

    def transcribe(
        self, samples: Samples, draft: Sequence[int] = (), forced: int = 0, urgency: int = Urgency.FINAL
    ) -> "asyncio.Future[Transcript]":
        """Queue a window of audio (n,) and return the future of what is said in it; cancel it to withdraw.

        The first `forced` tokens of the draft are taken as said.

        Raises: Overloaded, ShuttingDown.
        """
        if self._closed:
            raise ShuttingDown("the speech model is being unloaded")
        if len(self._waiting) >= _MAX_WAITING:
            raise Overloaded(f"{len(self._waiting)} windows of audio wait for the speech model", _RETRY_AFTER_S)
        limit = max(longest_tokens(len(samples) / self._rate_hz), forced + 1)
        decode = Decode(tuple(draft[: max(limit, forced)]), forced, limit)
        self._count += 1
        loop = asyncio.get_running_loop()
        job = _Job(samples, decode, loop.create_future(), (urgency, self._count), time.monotonic())
        self._waiting.append(job)
        self._start_turn()
        return job.future

    async def rest(self) -> None:
        """Wait until nothing waits or is decoded."""
        while self.load:
            self._rested.clear()
            await self._rested.wait()

    def close(self) -> None:
        """Answer all it holds with ShuttingDown and free the sessions once the turn in progress is over.

        May be called twice.
        """
        if self._closed:
            return
        self._closed = True
        for job in (*self._waiting, *self._members):
            _fail(job, ShuttingDown("the speech model is being unloaded"))
        self._waiting.clear()
        self._members.clear()
        self._rested.set()
        self._executor.submit(self._free)
        self._executor.shutdown(wait=False)

    def _start_turn(self) -> None:
        self._waiting = [job for job in self._waiting if not job.future.done()]
        if not self.load:
            self._rested.set()
        if self._running or self._closed or not self.load:
            return
        joining = None
        if self._waiting and len(self._members) < _MAX_MEMBERS:
            joining = min(self._waiting, key=lambda job: job.order)
            self._waiting.remove(joining)
            self._members.add(joining)
        self._running = True
        turn = asyncio.get_running_loop().run_in_executor(self._executor, self._turn, joining)
        turn.add_done_callback(self._turned)

    def _turned(self, future: "asyncio.Future[_Turn]") -> None:
        self._running = False
        if future.cancelled():
            return
        turn = future.result()
        self._members.difference_update(turn.finished, (job for job, _ in turn.failed))
        for job, error in turn.failed:
            _fail(job, error)
        for job in turn.finished:
            if not job.future.done():
                if job.order[0] != Urgency.RECORDING:
                    self.turnaround_s += _SMOOTHING * (time.monotonic() - job.arrived_s - self.turnaround_s)
                job.future.set_result(job.decode.transcript())
        self._start_turn()

    # On the engine's thread from here on.

    def _turn(self, joining: _Job | None) -> _Turn:
        turn = _Turn()
        if joining is not None:
            self._guard(turn, [joining], lambda: self._admit(joining))
            self._merge()
        batch = self._next_batch()
        if batch is not None:
            self._guard(turn, batch.jobs, lambda: self._step(batch))
        for held in self._batches:
            over = [job for job in held.jobs if job.decode.done or job.future.done()]
            turn.finished += over
            self._drop(held, over)
        self._batches = [held for held in self._batches if held.jobs]
        self._merge()
        if joining is not None and joining.done:
            turn.finished.append(joining)
        return turn

    def _guard(self, turn: _Turn, jobs: list[_Job], work: Callable[[], None]) -> None:
        """Run a part of a turn; if it fails, those whom it was for fail, and no others."""
        jobs = list(jobs)
        try:
            work()
        except Exception as error:  # the batch boundary
            turn.failed += [(job, error) for job in jobs]
            for held in self._batches:
                self._drop(held, jobs)

    def _admit(self, job: _Job) -> None:
        if job.future.done():
            job.done = True
            return
        cohort, logits = self._model.begin(self._model.encode(job.samples), (START, *job.decode.draft))
        held = job.decode.verify(logits)
        job.done = job.decode.done
        if not job.done:
            cohort.truncate(1 + held)
            self._batches.append(_Batch(cohort, [job]))

    def _merge(self) -> None:
        """Make one batch of those whose pasts are equally long."""
        by_length: dict[int, _Batch] = {}
        for batch in self._batches:
            held = by_length.setdefault(batch.cohort.length, batch)
            if held is not batch:
                held.cohort.merge(batch.cohort)
                held.jobs += batch.jobs
        self._batches = list(by_length.values())

    def _next_batch(self) -> _Batch | None:
        if not self._batches:
            return None
        waiting = max(self._batches, key=lambda batch: batch.passed_over)
        if waiting.passed_over < _LONGEST_WAIT_TURNS:
            waiting = min(self._batches, key=lambda batch: batch.cohort.length)
        for batch in self._batches:
            batch.passed_over = 0 if batch is waiting else batch.passed_over + 1
        return waiting

    def _step(self, batch: _Batch) -> None:
        logits = self._model.step(batch.cohort, [job.decode.tokens[-1] for job in batch.jobs])
        self.steps += 1
        self.stepped_tokens += len(batch.jobs)
        for job, row in zip(batch.jobs, logits, strict=True):
            job.decode.choose(row)

    def _drop(self, batch: _Batch, jobs: Sequence[_Job]) -> None:
        rows = [row for row, job in enumerate(batch.jobs) if job not in jobs]
        if len(rows) < len(batch.jobs):
            batch.jobs = [batch.jobs[row] for row in rows]
            batch.cohort.keep(rows)

    def _free(self) -> None:
        del self._model
        self._batches.clear()


def _fail(job: _Job, error: Exception) -> None:
    if not job.future.done():
        job.future.set_exception(error)
