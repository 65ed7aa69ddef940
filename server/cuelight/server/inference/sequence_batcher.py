"""The sequence batcher: a model's live sequences, whose steps run together and are never mixed up.

    submit -> SequenceTable: whose sequence? -> its SequenceLane: queue, batch, engine -> futures

A *lane* is one engine with its slabs; a sequence stays on its lane for life. A step writes into a free row, and that
row becomes the sequence's when the step has succeeded and its caller is still there: a step that failed, was cancelled
or came too late never happened. A sequence that takes no step for too long ends.
"""

import asyncio
import logging
import time
from collections.abc import Hashable
from collections.abc import Sequence as Items
from typing import Any

from numpy.typing import NDArray

from cuelight.server.errors import Overloaded, ShuttingDown
from cuelight.server.inference.batching import group_of
from cuelight.server.inference.quick_steps import QuickStep
from cuelight.server.inference.sequence_batch import SequenceState, StepResult
from cuelight.server.inference.sequence_lane import SequenceLane
from cuelight.server.inference.sequence_queue import StepEntry
from cuelight.server.inference.sequence_spec import SequenceSpec
from cuelight.server.inference.sequences import Owner, Sequence, SequenceId, SequenceTable
from cuelight.server.inference.signature import ModelSignature
from cuelight.server.inference.slot_engine import SlotEngine
from cuelight.server.inference.statistics import SequenceCounts, VersionStatistics

__all__ = ["SequenceBatcher"]

Arrays = dict[str, NDArray[Any]]

_RETRY_AFTER_S = 0.05
_TRANSFER_GROUP = "transfer"
"""The group of entries that take no step: they share a batch with each other."""

_log = logging.getLogger("cuelight.sequences")


class SequenceBatcher:
    """Owns a model version's sequences and hands batches of steps to its engines. Lives on the event loop."""

    def __init__(
        self,
        name: str,
        signature: ModelSignature,
        spec: SequenceSpec,
        engines: Items[SlotEngine],
        statistics: VersionStatistics,
        max_queue_size: int,
        version: Any = None,
    ) -> None:
        """`version` is whatever the batcher belongs to, for those who find it by one of its sequences."""
        self.version = version
        self._name = name
        self._signature = signature
        self._spec = spec
        self._statistics = statistics
        self._max_queue_size = max_queue_size
        self._loop = asyncio.get_running_loop()
        self._lanes = [
            SequenceLane(name, number, engine, spec, statistics, self) for number, engine in enumerate(engines)
        ]
        self._table = SequenceTable(name, self, len(engines), spec.max_sequences)
        self._expiry: asyncio.TimerHandle | None = None
        self._retiring = False
        self._stopping = False
        self._settled = asyncio.Event()
        self.counts = SequenceCounts()

    @property
    def depth(self) -> int:
        """How many steps wait."""
        return sum(lane.depth for lane in self._lanes)

    @property
    def running(self) -> int:
        """How many batches run now."""
        return sum(lane.running for lane in self._lanes)

    @property
    def live(self) -> int:
        """How many sequences are alive."""
        return self._table.live

    @property
    def capacity(self) -> int:
        """How many sequences may be alive."""
        return self._table.capacity

    @property
    def slots_used(self) -> int:
        """How many rows of the slabs hold a state."""
        return sum(lane.engine.slots.taken for lane in self._lanes)

    def holds(self, sequence_id: SequenceId) -> bool:
        """Whether a sequence of that id is alive here."""
        return sequence_id in self._table

    def get(self, sequence_id: SequenceId) -> Sequence | None:
        """Return the live sequence of that id."""
        return self._table.get(sequence_id)

    def takes_bytes(self, sequence: Sequence) -> bool:
        """Whether the sequence's steps may be pushed as bytes."""
        return self._lanes[sequence.lane].engine.takes_bytes

    def push(self, step: QuickStep) -> bool:
        """Queue a step as bytes; return whether it was taken: its sequence lives and does nothing else now."""
        sequence = step.sequence
        lane = self._lanes[sequence.lane]
        if sequence.closing or sequence.running or sequence.waiting or self._stopping:
            return False
        if lane.depth >= self._max_queue_size:
            return False
        lane.push_quick(step)
        return True

    def submit(
        self,
        sequence_id: SequenceId,
        inputs: Arrays,
        *,
        start: bool = False,
        end: bool = False,
        owner: Owner | None = None,
        deadline_s: float | None = None,
        state: SequenceState | None = None,
        wants_state: bool = False,
        group: Hashable = None,
    ) -> "asyncio.Future[StepResult]":
        """Queue a sequence's next step and return the future of its result; cancel the future to withdraw it.

        `start` begins a sequence, and ends the one that had the id; so does `state`, from which the sequence then goes
        on. `end` makes it the last step. `owner` is the stream it came on, None for a unary call. `group` keeps steps
        apart that cannot share a batch though their tensors are of the same sizes.

        Raises: SequenceNotActive; Overloaded when sequences or steps are as many as fit; ShuttingDown.
        """
        self._check_open(start or state is not None)
        sequence = self._begun(sequence_id, owner, start, state)
        sequence.resumable |= wants_state or state is not None
        entry = StepEntry(
            inputs,
            group_of(inputs, self._signature) if group is None else group,
            self._loop.create_future(),
            arrived_s=time.monotonic(),
            arrived_ns=time.perf_counter_ns(),
            deadline_s=deadline_s,
            end=end,
            state=state.rows if state else None,
            steps=state.steps if state else 0,
            wants_state=wants_state,
        )
        return self._queued(sequence, entry)

    def export(self, sequence_id: SequenceId, owner: Owner | None = None) -> "asyncio.Future[StepResult]":
        """Return the future of a sequence's state after the steps it has accepted; the sequence goes on.

        Raises: SequenceNotActive.
        """
        # Whoever knows the id may look: an export changes nothing.
        sequence = self._table.get(sequence_id) or self._table.find(sequence_id, owner)
        return self._queued(sequence, self._transfer(wants_state=True))

    def restore(
        self, sequence_id: SequenceId, state: SequenceState, owner: Owner | None = None
    ) -> "asyncio.Future[StepResult]":
        """Begin a sequence that goes on from `state`; it ends the one that had the id.

        Raises: Overloaded, ShuttingDown.
        """
        self._check_open(True)
        sequence = self._begun(sequence_id, owner, False, state)
        return self._queued(sequence, self._transfer(state=state.rows, steps=state.steps))

    def touch(self, sequence_id: SequenceId) -> None:
        """Let a sequence's idle time begin again; nothing happens where there is none of that id."""
        sequence = self._table.get(sequence_id)
        if sequence is not None and sequence.idle:
            self._table.rest(sequence, time.monotonic())

    def release(self, sequence: Sequence) -> None:
        """End a sequence whose stream is over; steps of it that still wait have lost their caller."""
        self._close(sequence)

    async def outlive(self) -> None:
        """Begin no sequence any more, and return once those alive have ended; one that no one steps ends by itself."""
        self._retiring = True
        while self._table.live and not self._stopping:
            self._settled.clear()
            await self._settled.wait()

    def abandon(self) -> None:
        """End every sequence; the steps they have accepted are still answered."""
        self._stopping = True
        for lane in self._lanes:
            lane.hurry()
        for sequence in self._table.all():
            self._close(sequence)
        self._settled.set()

    async def stop(self) -> None:
        """End every sequence and return once each accepted step is answered."""
        self.abandon()
        while self.depth or self.running:
            self._settled.clear()
            await self._settled.wait()
        if self._expiry is not None:
            self._expiry.cancel()

    def _check_open(self, begins: bool) -> None:
        if self._stopping or (self._retiring and begins):
            raise ShuttingDown(f'model "{self._name}" is being unloaded')
        if self.depth >= self._max_queue_size:
            raise Overloaded(f'model "{self._name}": {self.depth} steps wait, its queue is full', _RETRY_AFTER_S)

    def _begun(
        self, sequence_id: SequenceId, owner: Owner | None, start: bool, state: SequenceState | None
    ) -> Sequence:
        if not start and state is None:
            return self._table.find(sequence_id, owner)
        known = self._table.get(sequence_id)
        if known is not None:
            self._close(known)
        sequence = self._table.start(sequence_id, owner)
        self.counts.started += start
        self.counts.resumed += state is not None
        return sequence

    def _transfer(
        self, state: Items[NDArray[Any]] | None = None, steps: int = 0, wants_state: bool = False
    ) -> StepEntry:
        return StepEntry(
            None,
            _TRANSFER_GROUP,
            self._loop.create_future(),
            arrived_s=time.monotonic(),
            state=state,
            steps=steps,
            wants_state=wants_state,
        )

    def _queued(self, sequence: Sequence, entry: StepEntry) -> "asyncio.Future[StepResult]":
        self._table.busy(sequence)
        self._lanes[sequence.lane].push(sequence, entry)
        if entry.end:
            self._table.close(sequence)
        return entry.future

    def live_on(self, lane: int) -> int:
        """Return how many of a lane's sequences can be stepped; called by the lane."""
        return self._table.live_on(lane)

    def settle(self) -> None:
        """Wake whoever waits for the end; called by a lane that has nothing left to do."""
        self._settled.set()

    def rest(self, sequence: Sequence, now_s: float) -> None:
        """Let a sequence go of which nothing waits or runs, if it is closing; else its idle time begins.

        Called by its lane.
        """
        if sequence.closing:
            self._forget(sequence)
            return
        self._table.rest(sequence, now_s)
        if self._expiry is None:
            self._expiry = self._loop.call_later(self._spec.max_idle_s, self._expire)

    def _close(self, sequence: Sequence) -> None:
        if sequence.closing:
            return
        self._table.close(sequence)
        if sequence.idle:
            self._forget(sequence)
        self._lanes[sequence.lane].look()

    def _forget(self, sequence: Sequence) -> None:
        self._table.forget(sequence)
        if sequence.slot is not None:
            self._lanes[sequence.lane].engine.slots.give_back(sequence.slot)
            sequence.slot = None
        self.counts.ended += 1
        if not self._table.live:
            self._settled.set()

    def _expire(self) -> None:
        """End the sequences that were idle too long, and come back when the next one will have been."""
        self._expiry = None
        now_s = time.monotonic()
        while (sequence := self._table.idlest()) is not None:
            if not sequence.idle:
                # One that steps as bytes is not taken off the list for every step.
                self._table.rest(sequence, now_s)
                continue
            left_s = sequence.idle_since_s + self._spec.max_idle_s - now_s
            if left_s > 0:
                self._expiry = self._loop.call_later(left_s, self._expire)
                return
            _log.info("model %s: sequence %r ends, idle for %g s", self._name, sequence.id, self._spec.max_idle_s)
            self.counts.expired += 1
            self._close(sequence)
