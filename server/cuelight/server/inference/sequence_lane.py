"""A lane: one engine with its slabs, the steps that wait for it, and the batches that run.

    push -> SequenceQueue -> (the engine is free) -> SequenceBatch: run, settle -> futures

A lane that becomes free takes what waits; while it runs, the queue fills, for a large batch costs less a step than two
small ones. A batch begins beside one that runs only where what waits fills it, or has waited too long. Dispatch is put
at the end of the loop's current turn, so that steps that arrived in the same turn share a batch. A batch that fails is
run again step by step, so that only the offender fails.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from cuelight.server.errors import DeadlineExceeded, InferenceFailed
from cuelight.server.inference.quick_steps import QuickBatch, QuickLine, QuickStep
from cuelight.server.inference.sequence_batch import Entries, SequenceBatch
from cuelight.server.inference.sequence_queue import PATIENCE_S, SequenceQueue, StepEntry
from cuelight.server.inference.sequence_spec import SequenceSpec
from cuelight.server.inference.sequences import Sequence
from cuelight.server.inference.slot_engine import SlotEngine
from cuelight.server.inference.statistics import SequenceCounts, VersionStatistics

__all__ = ["LaneOwner", "SequenceLane"]

_BESIDE_S = 0.005
"""How much longer a step waits before its batch begins beside another one that runs, which may be about to end.
Measured with 260 voices on an LSTM of 2 x 512 units and two cores: p99 520 ms with 20 ms here, 204 with 5."""

_log = logging.getLogger("cuelight.sequences")


class LaneOwner(Protocol):
    """What a lane tells the batcher it belongs to."""

    def rest(self, sequence: Sequence, now_s: float) -> None:
        """Nothing of the sequence waits or runs any more."""
        ...

    def settle(self) -> None:
        """Nothing at all waits or runs on the lane."""
        ...

    counts: SequenceCounts

    def live_on(self, lane: int) -> int:
        """Return how many sequences might send a step to the lane of that number."""
        ...


class SequenceLane:
    """Owns one engine's queue. Lives on the event loop; only `SequenceBatch.run` is on the engine's threads."""

    def __init__(
        self,
        name: str,
        number: int,
        engine: SlotEngine,
        spec: SequenceSpec,
        statistics: VersionStatistics,
        owner: LaneOwner,
    ) -> None:
        self.engine = engine
        self._number = number
        self._name = name
        self._spec = spec
        self._statistics = statistics
        self._owner = owner
        self._queue = SequenceQueue()
        self._quick = QuickLine()
        self._loop = asyncio.get_running_loop()
        self._soon: asyncio.Handle | None = None
        self._later: asyncio.TimerHandle | None = None
        """When what waits has waited long enough for company."""
        self.running = 0
        """How many batches run."""
        self._hurry = False

    @property
    def depth(self) -> int:
        """How many steps wait."""
        return self._queue.depth + len(self._quick)

    def push_quick(self, step: QuickStep) -> None:
        """Queue a step as bytes."""
        self._quick.push(step)
        self.look()

    def push(self, sequence: Sequence, entry: StepEntry) -> None:
        """Queue a step."""
        self._queue.push(sequence, entry)
        self.look()

    def hurry(self) -> None:
        """Let nothing wait for company any more: neither what waits now nor what comes."""
        self._hurry = True
        self._wait_no_longer()
        self.look()

    def look(self) -> None:
        """Dispatch at the end of this turn, if there is something to begin: a step came, or less company is to come."""
        if self._soon is not None or self.running >= self.engine.runs or (self.running and not self.depth):
            return
        if self._later is None or self._ready >= self._enough:
            self._soon = self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._soon = None
        self._wait_no_longer()
        if self._ready and self.running < self.engine.runs:
            now_s = time.monotonic()
            if (run_at_s := self._run_at_s(now_s)) > now_s:
                self._later = self._loop.call_later(run_at_s - now_s, self._dispatch)
            elif self._quick_is_next():
                self._run_quick(now_s)
                self.look()
            else:
                self._run_next(now_s)
                self.look()
        if not self.depth and not self.running:
            self._owner.settle()

    def _wait_no_longer(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def _ended(self) -> None:
        """A batch is over: what waits may wait no longer beside it."""
        self.running -= 1
        self._wait_no_longer()
        self.look()

    @property
    def _ready(self) -> int:
        """How many steps could run now."""
        return self._queue.ready + len(self._quick)

    @property
    def _enough(self) -> int:
        """How many steps wait for no more company."""
        if self.running:
            return self.engine.max_rows
        return min((*self._spec.preferred_batch_sizes, self.engine.max_rows, self._owner.live_on(self._number)))

    def _run_at_s(self, now_s: float) -> float:
        """Return when to run what waits: now, or when it has waited for company long enough."""
        delay_s = 0.0 if self._hurry else self._spec.max_queue_delay_s
        if self.running:
            delay_s += _BESIDE_S
        if not delay_s or self._ready >= self._enough:
            return now_s
        return delay_s + min(come_s for come_s in (self._queue.oldest_s, self._quick.oldest_s) if come_s is not None)

    def _quick_is_next(self) -> bool:
        """Whether the steps that came as bytes go before the others: the rule is that of `SequenceQueue`."""
        quick_s, due_s = self._quick.oldest_s, self._queue.due_s
        return quick_s is not None and (due_s is None or quick_s + PATIENCE_S <= due_s)

    def _run_quick(self, now_s: float) -> None:
        steps, left = self._quick.take(self.engine.max_rows)
        for step in left:
            self._statistics.cancel_count += 1
            self._ran(step.sequence, now_s)
        if not steps:
            self.look()
            return
        self.running += 1
        batch = QuickBatch(self.engine, steps)
        if len(steps) <= self.engine.inline_rows:
            self._done_quick(batch, _error_of(batch))
        else:
            self._submit(batch, self._done_quick)

    def _done_quick(self, batch: QuickBatch, error: Exception | None) -> None:
        now_s = time.monotonic()
        if error is None:
            left = batch.settle()
            self._statistics.cancel_count += len(left)
            self._record(batch, [step.arrived_ns for step in batch.steps])
        else:
            batch.give_back()
        for step in batch.steps:
            self._ran(step.sequence, now_s)
        self._ended()

    def _run_next(self, now_s: float) -> None:
        waiting = self._queue.depth
        entries, given_up, emptied = self._queue.take(self.engine.max_rows, now_s)
        self._statistics.cancel_count += waiting - self._queue.depth - len(entries) - len(given_up)
        for entry in given_up:
            waited_ms = (now_s - entry.arrived_s) * 1000
            self._fail(entry, DeadlineExceeded(f'model "{self._name}": timed out after {waited_ms:.0f} ms'))
        for sequence in emptied:
            if sequence.idle:
                self._owner.rest(sequence, now_s)
        if not entries:
            return
        for sequence, _ in entries:
            sequence.running = True
        self.running += 1
        batch = SequenceBatch(self.engine, entries)
        if len(entries) <= self.engine.inline_rows:
            self._done(batch, _error_of(batch))
        else:
            self._submit(batch, self._done)

    def _submit(self, batch: Any, done: Callable[[Any, Any], None]) -> None:
        """Run the batch on a thread of the engine, and then `done` on the loop."""
        loop = self._loop
        self.engine.executor.submit(lambda: loop.call_soon_threadsafe(done, batch, _error_of(batch)))

    def _done(self, batch: SequenceBatch, error: Exception | None) -> None:
        if error is None:
            self._settle(batch)
        elif len(batch.entries) == 1:
            self._offended(batch, error)
        else:
            batch.give_back()
            self._one_by_one(batch.entries)
            return
        self._ended()

    def _one_by_one(self, entries: Entries) -> None:
        """Run the first entry of a batch that failed alone, and then the others."""
        first, others = entries[:1], entries[1:]

        def done(batch: SequenceBatch, error: Exception | None) -> None:
            if not others:
                self._done(batch, error)
                return
            if error is None:
                self._settle(batch)
            else:
                self._offended(batch, error)
            self._one_by_one(others)
            self.look()  # what the first one's sequence has next may run beside the others

        self._submit(SequenceBatch(self.engine, first), done)

    def _settle(self, batch: SequenceBatch) -> None:
        """Answer the batch's callers, and let each sequence have its new state."""
        now_s = time.monotonic()
        arrived_ns: list[int] = []
        for row, (sequence, entry) in enumerate(batch.entries):
            result = batch.settle(row, len(arrived_ns))
            if result is None:
                self._statistics.cancel_count += 1
            else:
                entry.future.set_result(result)
            if entry.inputs is not None:
                arrived_ns.append(entry.arrived_ns)
            self._ran(sequence, now_s)
        if arrived_ns:
            self._record(batch, arrived_ns)

    def _record(self, batch: SequenceBatch | QuickBatch, arrived_ns: list[int]) -> None:
        """Count the steps of a batch that has run; `arrived_ns` says when each came."""
        ended_ns, counts = time.perf_counter_ns(), self._owner.counts
        for came_ns in arrived_ns:
            counts.count_step((ended_ns - came_ns) / 1e9)
        waited_ns = len(arrived_ns) * batch.started_ns - sum(arrived_ns)
        times = {"input_ns": 0, "infer_ns": batch.ran_ns - batch.started_ns, "output_ns": ended_ns - batch.ran_ns}
        self._statistics.record_requests(len(arrived_ns), queue_ns=waited_ns, **times)
        self._statistics.record_execution(len(arrived_ns), **times)

    def _offended(self, batch: SequenceBatch, error: Exception) -> None:
        """Tell the one caller of a batch that failed; its sequence is as it was."""
        sequence, entry = batch.entries[0]
        batch.give_back()
        _log.warning("model %s failed on a step of a sequence", self._name, exc_info=error)
        self._fail(entry, InferenceFailed(f'model "{self._name}" failed to run this request'))
        self._ran(sequence, time.monotonic())

    def _ran(self, sequence: Sequence, now_s: float) -> None:
        sequence.running = False
        self._queue.line_up(sequence)
        if sequence.idle:
            self._owner.rest(sequence, now_s)

    def _fail(self, entry: StepEntry, error: Exception) -> None:
        self._statistics.fail_count += 1
        if not entry.future.done():
            entry.future.set_exception(error)


def _error_of(batch: SequenceBatch | QuickBatch) -> Exception | None:
    """Run the batch and return what went wrong: whatever it is belongs to this batch, and the lane lives on."""
    try:
        batch.run()
    except Exception as error:
        return error
    return None
