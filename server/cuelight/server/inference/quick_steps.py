"""Steps of live streams as bytes: from a message's tensors straight into the batch, and from its outputs to the answer.

What the general way costs for each step (a parsed message, arrays, an entry, a place in a heap, a result to be encoded)
is more than an LSTM's step itself. A stream that waits for each answer has one step at a time, needs no order among
its own and brings the same header every time: so its steps stand in one line, in the order they came, and a batch of
them is a loop over bytes. The rules are the general ones: a step writes to a free row, which becomes the sequence's
when the step has succeeded and its caller is still there.
"""

import time
from asyncio import Future
from collections import deque

from cuelight.server.inference.message_parts import RequestParts, as_stream_response
from cuelight.server.inference.sequences import Sequence
from cuelight.server.inference.slot_engine import BoundArrays, SlotEngine

__all__ = ["AnswerPieces", "QuickBatch", "QuickLine", "QuickStep", "QuickStepFailed"]

AnswerPieces = tuple[bytes, bytes, list[tuple[str, bytes]]]
"""The answer's bytes before the id, those after it; of each output its name and the tag and length of its bytes."""


class QuickStepFailed(Exception):
    """The batch failed: nothing has happened, and each step has to go the general way, which finds the offender."""


class QuickStep:
    """One step that waits: its message, where in it the tensors lie, and the future of its serialized answer."""

    __slots__ = ("arrived_ns", "arrived_s", "body", "future", "header_end", "id_field", "parts", "pieces", "sequence")

    def __init__(
        self,
        sequence: Sequence,
        parts: RequestParts,
        pieces: AnswerPieces,
        body: bytes,
        header_end: int,
        id_field: bytes,
        future: "Future[bytes]",
    ) -> None:
        self.sequence = sequence
        self.parts = parts
        self.pieces = pieces
        self.body = body
        self.header_end = header_end
        self.id_field = id_field
        self.future = future
        self.arrived_s = time.monotonic()
        self.arrived_ns = time.perf_counter_ns()


class QuickLine:
    """The steps that wait, in the order they came. Owned by a lane."""

    def __init__(self) -> None:
        self._steps: deque[QuickStep] = deque()

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def oldest_s(self) -> float | None:
        """When the first in line came, in seconds of `time.monotonic()`."""
        return self._steps[0].arrived_s if self._steps else None

    def push(self, step: QuickStep) -> None:
        """Put a step at the end. Its sequence counts as running from now on."""
        step.sequence.running = True
        self._steps.append(step)

    def take(self, limit: int) -> tuple[list[QuickStep], list[QuickStep]]:
        """Remove the next batch; returned with it are the steps whose callers have left."""
        batch: list[QuickStep] = []
        left: list[QuickStep] = []
        while self._steps and len(batch) < limit:
            step = self._steps.popleft()
            (left if step.future.done() else batch).append(step)
        return batch, left


class QuickBatch:
    """Steps of different sequences that run together; used as `SequenceBatch` is."""

    __slots__ = ("_bound", "_engine", "_written", "ran_ns", "started_ns", "steps")

    def __init__(self, engine: SlotEngine, steps: list[QuickStep]) -> None:
        self._engine = engine
        self.steps = steps
        self._written = [engine.slots.take() for _ in steps]
        self._bound: BoundArrays | None = None
        self.started_ns = self.ran_ns = 0

    def run(self) -> None:
        """Run the model; on a thread of the engine, or on the loop. Raises: whatever the engine raises."""
        self.started_ns = time.perf_counter_ns()
        initial = self._engine.slots.initial
        read = [initial if (slot := step.sequence.slot) is None else slot for step in self.steps]
        self._bound = self._engine.step_bytes(
            [(step.body, step.header_end, step.parts.inputs) for step in self.steps], read, self._written
        )
        self.ran_ns = time.perf_counter_ns()

    def settle(self) -> list[QuickStep]:
        """Answer every caller and move its sequence on; return the steps whose callers have left meanwhile."""
        assert self._bound is not None
        left: list[QuickStep] = []
        give_back = self._engine.slots.give_back
        outputs = self._bound.output_views
        for row, (step, written) in enumerate(zip(self.steps, self._written, strict=True)):
            if step.future.done():
                give_back(written)
                left.append(step)
                continue
            sequence = step.sequence
            if sequence.slot is not None:
                give_back(sequence.slot)
            sequence.slot = written
            sequence.steps += 1
            until_id, after_id, described = step.pieces
            answer: list[bytes | memoryview] = [until_id, step.id_field, after_id]
            for name, length in described:
                view, size = outputs[name]
                answer.append(length)
                answer.append(view[row * size : row * size + size])
            step.future.set_result(as_stream_response(b"".join(answer)))
        self._engine.give_back(self._bound)
        return left

    def give_back(self) -> None:
        """Give every row back and send every caller the general way: the run failed."""
        for step, written in zip(self.steps, self._written, strict=True):
            self._engine.slots.give_back(written)
            if not step.future.done():
                step.future.set_exception(QuickStepFailed())
