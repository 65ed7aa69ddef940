"""Which sequences step next: the rules, without clock, thread or task.

A sequence's steps run in the order they came, one a batch. Sequences whose next step waits stand in lines, one for each
*group* of steps that can share a batch (the same tensor sizes); in a line the most urgent goes first, by the step's
deadline, and a step without a near deadline counts as due `PATIENCE_S` after it came: so nobody is passed by for ever.
"""

import heapq
from asyncio import Future
from collections.abc import Hashable
from collections.abc import Sequence as Items
from typing import Any

from numpy.typing import NDArray

from cuelight.server.inference.sequences import Sequence

__all__ = ["PATIENCE_S", "SequenceQueue", "StepEntry"]

Arrays = dict[str, NDArray[Any]]

PATIENCE_S = 1.0
"""A step that has waited this long goes before any whose deadline is still ahead."""


class StepEntry:
    """Something to do with a sequence, in its turn, and the future its caller awaits.

    `inputs` None means that no step is taken. `state`, one array a state, replaces the sequence's before the step;
    `wants_state` asks for it afterwards. Times are seconds of `time.monotonic()`; `arrived_ns` of
    `time.perf_counter_ns()`.
    """

    __slots__ = ("arrived_ns", "arrived_s", "deadline_s", "end", "future", "group", "inputs", "state", "steps",
                 "wants_state")  # fmt: skip

    def __init__(
        self,
        inputs: Arrays | None,
        group: Hashable,
        future: "Future[Any]",
        *,
        arrived_s: float,
        arrived_ns: int = 0,
        deadline_s: float | None = None,
        end: bool = False,
        state: Items[NDArray[Any]] | None = None,
        steps: int = 0,
        wants_state: bool = False,
    ) -> None:
        self.inputs = inputs
        self.group = group
        self.future = future
        self.arrived_s = arrived_s
        self.arrived_ns = arrived_ns
        self.deadline_s = deadline_s
        self.end = end
        self.state = state
        self.steps = steps
        """With `state`: how many steps led to it."""
        self.wants_state = wants_state

    @property
    def due_s(self) -> float:
        """By when the step should run."""
        patient_s = self.arrived_s + PATIENCE_S
        return patient_s if self.deadline_s is None else min(self.deadline_s, patient_s)


class SequenceQueue:
    """The sequences of one lane that have a step to run. Owned by the sequence batcher."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, list[tuple[float, int, Sequence]]] = {}
        self._order = 0
        self.depth = 0
        """How many steps wait, of all sequences."""
        self.ready = 0
        """How many sequences have a step that could run now."""

    @property
    def due_s(self) -> float | None:
        """By when the most urgent of the steps that could run now should."""
        return min((line[0][0] for line in self._lines.values()), default=None)

    @property
    def oldest_s(self) -> float | None:
        """When the step that has waited longest, of those that could run now, came."""
        heads = (sequence.waiting[0].arrived_s for line in self._lines.values() for _, _, sequence in line)
        return min(heads, default=None)

    def push(self, sequence: Sequence, entry: StepEntry) -> None:
        """Add a step behind the sequence's others."""
        sequence.waiting.append(entry)
        self.depth += 1
        self.line_up(sequence)

    def line_up(self, sequence: Sequence) -> None:
        """Let the sequence stand in line, if it has a step to run and stands in none."""
        if sequence.waiting and not sequence.running and not sequence.queued:
            head: StepEntry = sequence.waiting[0]
            self._order += 1
            sequence.queued = True
            self.ready += 1
            heapq.heappush(self._lines.setdefault(head.group, []), (head.due_s, self._order, sequence))

    def take(
        self, limit: int, now_s: float
    ) -> tuple[list[tuple[Sequence, StepEntry]], list[StepEntry], list[Sequence]]:
        """Remove the next batch: at most `limit` steps, each of another sequence, all of one group.

        Returned with it: the steps that were given up because their deadline has passed, and the sequences that have
        nothing left to run, because all that waited was given up or had lost its caller.
        """
        batch: list[tuple[Sequence, StepEntry]] = []
        given_up: list[StepEntry] = []
        emptied: list[Sequence] = []
        while self._lines and not batch:
            group = min(self._lines, key=lambda each: self._lines[each][0])
            line = self._lines[group]
            while line and len(batch) < limit:
                sequence = heapq.heappop(line)[2]
                sequence.queued = False
                self.ready -= 1
                entry = self._next(sequence, now_s, given_up)
                if entry is None:
                    emptied.append(sequence)
                elif entry.group != group:
                    sequence.waiting.appendleft(entry)
                    self.depth += 1
                    self.line_up(sequence)
                else:
                    batch.append((sequence, entry))
            if not line:
                self._lines.pop(group, None)
        return batch, given_up, emptied

    def _next(self, sequence: Sequence, now_s: float, given_up: list[StepEntry]) -> StepEntry | None:
        while sequence.waiting:
            entry: StepEntry = sequence.waiting.popleft()
            self.depth -= 1
            if entry.future.done():
                continue
            if entry.deadline_s is None or entry.deadline_s > now_s:
                return entry
            given_up.append(entry)
        return None
