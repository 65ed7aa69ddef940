"""The engine of an encoder-decoder model: windows of many voices, encoded one by one, their tokens decoded together.

    transcribe -> waiting -> (admit: encode, consume the draft) -> a row -> (step: one token for every row) -> future

A *turn* is what the engine's thread does between two looks at the queue: it admits the window that is most urgent, if
one waits and there is room, and gives every row one token, however long its past is. An admission takes as long as
several steps, so while a final result is decoded only windows that have waited for long are admitted beside those of
other final results. Who is through, or has cancelled, leaves before the next step. An admission that fails fails that
window; a step that fails fails those in it.

The queue belongs to the event loop; sessions and rows belong to the thread, and only the turn touches them.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from cuelight.server.errors import Overloaded, ShuttingDown
from cuelight.server.speech.segmented.decoding import Decode, Transcript, longest_tokens
from cuelight.server.speech.segmented.hearing import Hearing
from cuelight.server.speech.segmented.moonshine import START, MoonshineModel
from cuelight.server.speech.segmented.pace import Pace
from cuelight.server.speech.segmented.rows import Rows
from cuelight.server.speech.voice import Samples

__all__ = ["PATIENCE_S", "SpeechEngine", "Urgency"]

_MAX_MEMBERS = 32
_MAX_WAITING = 1024
_RETRY_AFTER_S = 1.0
_SMOOTHING = 0.2
PATIENCE_S = 0.25
"""How long an interim window stands back for final results."""
_LONG_DECODE_S = 0.3
"""A window that changes its mind about all of its words needs as many steps, and an admission between any two of them
makes that seconds."""


class Urgency:
    """Who goes first: a final result that somebody waits for, a live interim, a recording that is sent in one go."""

    FINAL, INTERIM, RECORDING = 0, 1, 2


@dataclass(slots=True, eq=False)
class _Job:
    samples: Samples
    hearing: Hearing | None
    decode: Decode
    future: "asyncio.Future[Transcript]"
    order: tuple[int, int]
    arrived_s: float
    admitted_s: float = 0.0

    @property
    def over(self) -> bool:
        """Whether nothing more is to be decoded: all is said, or nobody waits any longer."""
        return self.decode.done or self.future.done()


@dataclass(slots=True)
class _Turn:
    """What a turn did: whose decode is over, whose failed, and how long it took."""

    finished: list[_Job] = field(default_factory=list)
    failed: list[tuple[_Job, Exception]] = field(default_factory=list)
    took_s: float = 0.0


class SpeechEngine:
    """One model with its thread. Lives on the event loop, but for the turns."""

    def __init__(self, model: MoonshineModel, sample_rate_hz: int, patience_s: float = PATIENCE_S) -> None:
        """An interim window stands back for final results for `patience_s` at most."""
        self._model = model
        self._patience_s = patience_s
        self._rate_hz = sample_rate_hz
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cuelight-speech")
        self._waiting: list[_Job] = []
        self._rows: Rows | None = None
        self._jobs: list[_Job] = []
        """Whose decode each row is."""
        self._members: set[_Job] = set()
        self._count = 0
        self._running = False
        self._closed = False
        self._rested = asyncio.Event()
        self._pace = Pace(time.monotonic())
        self.turnaround_s = 0.0
        """How long a window has lately taken from its arrival to its transcript."""
        self.steps = 0
        self.stepped_tokens = 0
        """Tokens over steps is the mean size of a batch."""

    @property
    def load(self) -> int:
        """How many windows wait or are decoded."""
        return len(self._waiting) + len(self._members)

    @property
    def interval_s(self) -> float:
        """How much new audio a window should have before it is decoded again."""
        return self._pace.interval_s

    def transcribe(
        self,
        samples: Samples,
        draft: Sequence[int] = (),
        forced: int = 0,
        urgency: int = Urgency.FINAL,
        hearing: Hearing | None = None,
    ) -> "asyncio.Future[Transcript]":
        """Queue a window of audio (n,) and return the future of what is said in it; cancel it to withdraw.

        The first `forced` tokens of the draft are taken as said. `hearing` goes with every window that begins where
        this one does.

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
        job = _Job(samples, hearing, decode, loop.create_future(), (urgency, self._count), time.monotonic())
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
        joining = self._next_window()
        self._running = True
        turn = asyncio.get_running_loop().run_in_executor(self._executor, self._timed_turn, joining)
        turn.add_done_callback(self._turned)

    def _next_window(self) -> _Job | None:
        """Take the most urgent window from the queue, unless it has to wait for what is being decoded."""
        if not self._waiting or len(self._members) >= _MAX_MEMBERS:
            return None
        window = min(self._waiting, key=lambda job: job.order)
        now_s = time.monotonic()
        if window.order[0] != Urgency.FINAL and self._has_to_wait(window, now_s):
            return None
        self._waiting.remove(window)
        self._members.add(window)
        window.admitted_s = now_s
        return window

    def _has_to_wait(self, window: _Job, now_s: float) -> bool:
        """Whether what is being decoded goes first: final results for a while, and whoever waits for long by now."""
        finals = any(job.order[0] == Urgency.FINAL for job in self._members)
        if finals and now_s - window.arrived_s < self._patience_s:
            return True
        live = (job for job in self._members if job.order[0] != Urgency.RECORDING)
        return any(now_s - job.admitted_s > _LONG_DECODE_S for job in live)

    def _turned(self, future: "asyncio.Future[_Turn]") -> None:
        self._running = False
        if future.cancelled():
            return
        turn = future.result()
        self._pace.worked(turn.took_s, time.monotonic())
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

    def _timed_turn(self, joining: _Job | None) -> _Turn:
        started_s = time.monotonic()
        turn = self._turn(joining)
        turn.took_s = time.monotonic() - started_s
        return turn

    def _turn(self, joining: _Job | None) -> _Turn:
        turn = _Turn()
        row = self._admit(turn, joining) if joining is not None else None
        turn.finished += [job for job in self._jobs if job.over]
        self._regroup(row, joining)
        if self._rows is not None:
            self._step(turn, self._rows)
        turn.finished += [job for job in self._jobs if job.over]
        return turn

    def _admit(self, turn: _Turn, job: _Job) -> Rows | None:
        """Encode a window and let the decoder consume its draft; return its row unless it is over then."""
        row = None
        if not job.over:
            try:
                row, logits = self._model.begin(
                    self._model.encode(job.samples, job.hearing), (START, *job.decode.draft)
                )
                row.truncate(1 + job.decode.verify(logits))
            except Exception as error:  # the batch boundary
                turn.failed.append((job, error))
                return None
        if job.over:
            turn.finished.append(job)
            return None
        return row

    def _regroup(self, row: Rows | None, joining: _Job | None) -> None:
        """Let rows that are over go and the new one in, in one copy."""
        stay = [at for at, job in enumerate(self._jobs) if not job.over]
        if row is None and len(stay) == len(self._jobs):
            return
        parts = [(self._rows, stay)] if self._rows is not None and stay else []
        self._jobs = [self._jobs[at] for at in stay]
        if row is not None and joining is not None:
            parts.append((row, [0]))
            self._jobs.append(joining)
        self._rows = Rows.gathered(parts) if parts else None

    def _step(self, turn: _Turn, rows: Rows) -> None:
        try:
            logits = self._model.step(rows, [job.decode.tokens[-1] for job in self._jobs])
            self.steps += 1
            self.stepped_tokens += len(self._jobs)
            for job, choices in zip(self._jobs, logits, strict=True):
                job.decode.choose(choices)
        except Exception as error:  # the batch boundary
            turn.failed += [(job, error) for job in self._jobs]
            self._rows, self._jobs = None, []

    def _free(self) -> None:
        del self._model
        self._rows, self._jobs = None, []


def _fail(job: _Job, error: Exception) -> None:
    if not job.future.done():
        job.future.set_exception(error)
