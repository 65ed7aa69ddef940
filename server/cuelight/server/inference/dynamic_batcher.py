"""The dynamic batcher: independent requests of one model, run together.

    submit -> BatchQueue -> (an engine is free) -> join | run | split on the engine's thread -> futures

The queue and the pool of engines belong to the event loop. An engine that becomes free takes its share of what waits;
while it runs, the queue fills: nobody waits for company unless `max_queue_delay` says so. Dispatch is put at the end of
the current turn of the loop, so that requests that arrived in the same turn share a batch.

A batch that fails is run again entry by entry, so that only the offender fails. A batcher that stops first answers all
it holds.
"""

import asyncio
import logging
import time
from typing import Any

from numpy.typing import NDArray

from cuelight.server.errors import DeadlineExceeded, InferenceFailed, Overloaded, ShuttingDown
from cuelight.server.inference.batch_queue import BatchingConfig, BatchQueue, QueueEntry
from cuelight.server.inference.batching import group_of, join, split
from cuelight.server.inference.engine_pool import Engine, EnginePlan, EnginePool
from cuelight.server.inference.signature import ModelSignature
from cuelight.server.inference.statistics import VersionStatistics

__all__ = ["DynamicBatcher"]

Arrays = dict[str, NDArray[Any]]

_RETRY_AFTER_S = 0.05

_log = logging.getLogger("cuelight.batcher")


class DynamicBatcher:
    """Owns a model version's queue and hands batches to its engines. Owned by the event loop."""

    def __init__(
        self,
        name: str,
        signature: ModelSignature,
        config: BatchingConfig,
        plan: EnginePlan[Any],
        statistics: VersionStatistics,
    ) -> None:
        self._name = name
        self._signature = signature
        self._config = config
        self._queue = BatchQueue(config)
        self._pool = EnginePool(plan)
        self._statistics = statistics
        self._output_names = tuple(signature.outputs)
        self._loop = asyncio.get_running_loop()
        self._dispatch_handle: asyncio.Handle | None = None
        self._stopping = False
        self._idle = asyncio.Event()

    @property
    def depth(self) -> int:
        """How many requests wait."""
        return self._queue.depth

    @property
    def running(self) -> int:
        """How many engines run a batch now."""
        return self._pool.running

    def submit(
        self,
        inputs: Arrays,
        rows: int,
        *,
        deadline_s: float | None = None,
        timeout_s: float = 0.0,
        priority: int = 0,
    ) -> "asyncio.Future[Arrays]":
        """Queue a request and return the future of its outputs; cancel the future to withdraw it.

        `deadline_s` is on the clock of `time.monotonic()`; `timeout_s` (0: none) bounds the wait in the queue where
        the model's policy allows callers to set it; `priority` 0 is the model's default level.

        Raises: Overloaded when the queue is full; ShuttingDown when the batcher stops.
        """
        if self._stopping:
            raise ShuttingDown(f'model "{self._name}" is being unloaded')
        level = self._level(priority)
        if self._queue.is_full(level):
            raise Overloaded(
                f'model "{self._name}": {self._queue.depth} requests wait, its queue is full', _RETRY_AFTER_S
            )
        now_s = time.monotonic()
        future: asyncio.Future[Arrays] = self._loop.create_future()
        self._queue.push(
            QueueEntry(
                inputs,
                rows,
                group_of(inputs, self._signature),
                future,
                arrived_s=now_s,
                arrived_ns=time.perf_counter_ns(),
                deadline_s=deadline_s,
                expires_s=self._expiry(level, timeout_s, now_s),
                level=level,
            )
        )
        if self._dispatch_handle is None and self._pool.may_take:
            self._dispatch_handle = self._loop.call_soon(self._dispatch)
        return future

    async def stop(self) -> None:
        """Refuse new requests and return once every one that was accepted is answered."""
        self._stopping = True
        if self._queue.depth or self.running:
            await self._idle.wait()

    def _level(self, priority: int) -> int:
        if not 0 < priority <= self._config.priority_levels:
            return self._config.default_priority_level
        return priority

    def _expiry(self, level: int, timeout_s: float, now_s: float) -> float | None:
        policy = self._config.policy(level)
        allowed_s = policy.timeout_s
        if timeout_s and policy.allow_timeout_override:
            allowed_s = min(allowed_s, timeout_s) if allowed_s else timeout_s
        return now_s + allowed_s if allowed_s else None

    def _dispatch(self) -> None:
        self._dispatch_handle = None
        while self._queue.depth and (share := self._pool.next_share(self._queue.depth)) is not None:
            now_s = time.monotonic()
            if not self._stopping and (run_at_s := self._queue.wait_until(now_s)) is not None:
                self._dispatch_handle = self._loop.call_later(run_at_s - now_s, self._dispatch)
                return
            waiting = self._queue.depth
            batch, given_up = self._queue.take(now_s, share.requests, share.rows)
            self._statistics.cancel_count += waiting - self._queue.depth - len(batch) - len(given_up)
            for entry in given_up:
                self._give_up(entry, now_s)
            if batch:
                self._pool.take(share.engine)
                share.engine.executor.submit(self._compute, share.engine, batch)
        if self._stopping and not self._queue.depth and not self.running:
            self._idle.set()

    def _give_up(self, entry: QueueEntry, now_s: float) -> None:
        waited_ms = (now_s - entry.arrived_s) * 1000
        self._fail(entry, DeadlineExceeded(f'model "{self._name}": timed out after {waited_ms:.0f} ms in the queue'))

    def _compute(self, engine: Engine, batch: list[QueueEntry]) -> None:
        """Run a batch; on the engine's thread."""
        started_ns = time.perf_counter_ns()
        # The batch boundary: whatever goes wrong in here belongs to this batch, and the batcher lives on.
        try:
            requests = [entry.inputs for entry in batch]
            feeds = join(requests, self._signature)
            joined_ns = time.perf_counter_ns()
            outputs = dict(zip(self._output_names, engine.run(feeds), strict=True))
            ran_ns = time.perf_counter_ns()
            answers = split(outputs, requests, [entry.rows for entry in batch], self._signature)
        except Exception as error:
            if len(batch) > 1:
                for entry in batch:
                    self._compute_one(engine, entry)
                self._loop.call_soon_threadsafe(self._release, engine)
                return
            _log.warning("model %s failed on a request", self._name, exc_info=error)
            self._loop.call_soon_threadsafe(self._failed, engine, batch[0])
            return
        times_ns = (started_ns, joined_ns, ran_ns, time.perf_counter_ns())
        self._loop.call_soon_threadsafe(self._answered, engine, batch, answers, times_ns)

    def _compute_one(self, engine: Engine, entry: QueueEntry) -> None:
        """Run one entry of a batch that failed; on the engine's thread, which stays taken."""
        started_ns = time.perf_counter_ns()
        try:
            outputs = dict(zip(self._output_names, engine.run(join([entry.inputs], self._signature)), strict=True))
        except Exception as error:
            _log.warning("model %s failed on a request", self._name, exc_info=error)
            self._loop.call_soon_threadsafe(self._fail, entry, self._failure())
            return
        ended_ns = time.perf_counter_ns()
        times_ns = (started_ns, started_ns, ended_ns, ended_ns)
        self._loop.call_soon_threadsafe(self._hand_out, [entry], [outputs], times_ns)

    def _answered(
        self, engine: Engine, batch: list[QueueEntry], answers: list[Arrays], times_ns: tuple[int, int, int, int]
    ) -> None:
        self._release(engine)
        self._hand_out(batch, answers, times_ns)

    def _failed(self, engine: Engine, entry: QueueEntry) -> None:
        self._release(engine)
        self._fail(entry, self._failure())

    def _release(self, engine: Engine) -> None:
        self._pool.give_back(engine)
        if self._dispatch_handle is not None:
            self._dispatch_handle.cancel()
        self._dispatch()

    def _hand_out(self, batch: list[QueueEntry], answers: list[Arrays], times_ns: tuple[int, int, int, int]) -> None:
        started_ns, joined_ns, ran_ns, split_ns = times_ns
        rows = 0
        for entry, answer in zip(batch, answers, strict=True):
            rows += entry.rows
            if not entry.future.done():
                entry.future.set_result(answer)
            self._statistics.record_request(
                entry.rows,
                queue_ns=started_ns - entry.arrived_ns,
                input_ns=joined_ns - started_ns,
                infer_ns=ran_ns - joined_ns,
                output_ns=split_ns - ran_ns,
            )
        self._statistics.record_execution(
            rows, input_ns=joined_ns - started_ns, infer_ns=ran_ns - joined_ns, output_ns=split_ns - ran_ns
        )

    def _failure(self) -> InferenceFailed:
        return InferenceFailed(f'model "{self._name}" failed to run this request')

    def _fail(self, entry: QueueEntry, error: Exception) -> None:
        self._statistics.fail_count += 1
        if not entry.future.done():
            entry.future.set_exception(error)
