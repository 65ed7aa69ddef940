"""One batch of steps: the rows it reads and writes, its run, and what becomes of the rows afterwards.

SequenceBatch(...)  on the loop: rows are taken for what will be written
run()               on the engine's thread: restore, step, export, in this order
settle(row)         on the loop, once for each entry: the written row becomes the sequence's, or is given back
give_back()         on the loop, in place of all that: the run failed, and nothing has changed
"""

import time
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from cuelight.server.inference.sequence_queue import StepEntry
from cuelight.server.inference.sequence_spec import SequenceSpec
from cuelight.server.inference.sequences import Sequence, SequenceId
from cuelight.server.inference.slot_engine import ControlValues, SlotEngine

__all__ = ["Entries", "SequenceBatch", "SequenceState", "StepResult"]

Arrays = dict[str, NDArray[Any]]
Entries = list[tuple[Sequence, StepEntry]]


@dataclass(frozen=True, slots=True)
class SequenceState:
    """A sequence between two steps: one array a state, in the model's order, and how many steps led to it."""

    rows: tuple[NDArray[Any], ...]
    steps: int


class StepResult:
    """What a step gave. `steps` counts the sequence's successful steps, this one included."""

    __slots__ = ("outputs", "state", "steps")

    def __init__(self, outputs: Arrays, steps: int, state: SequenceState | None = None) -> None:
        self.outputs = outputs
        self.steps = steps
        self.state = state


class SequenceBatch:
    """Steps of different sequences that run together. Belongs to the loop, but for `run`."""

    __slots__ = ("_engine", "_outputs", "_read", "_restored", "_states", "_written", "entries", "ran_ns", "started_ns",
                 "steps")  # fmt: skip

    def __init__(self, engine: SlotEngine, entries: Entries) -> None:
        slots = engine.slots
        self._engine = engine
        self.entries = entries
        self._restored = [slots.take() if entry.state is not None else None for _, entry in entries]
        self._written = [slots.take() if entry.inputs is not None else None for _, entry in entries]
        self._read = [
            restored if restored is not None else slots.initial if sequence.slot is None else sequence.slot
            for restored, (sequence, _) in zip(self._restored, entries, strict=True)
        ]
        self.steps = sum(entry.inputs is not None for _, entry in entries)
        """How many of the entries are steps of the model."""
        self._outputs: Arrays = {}
        self._states: dict[int, list[NDArray[Any]]] = {}
        self.started_ns = self.ran_ns = 0

    def run(self) -> None:
        """Do it. Raises: whatever the engine raises; then no row that is anybody's has changed."""
        self.started_ns = time.perf_counter_ns()
        self._restore()
        if self.steps:
            rows = [row for row, (_, entry) in enumerate(self.entries) if entry.inputs is not None]
            self._outputs = self._engine.step(
                [self.entries[row][1].inputs or {} for row in rows],
                _controls(self._engine.spec, [self.entries[row] for row in rows]),
                [self._read[row] for row in rows],
                [slot for slot in self._written if slot is not None],
            )
        self.ran_ns = time.perf_counter_ns()
        wanted = [row for row, (_, entry) in enumerate(self.entries) if entry.wants_state]
        if wanted:
            states = self._engine.read([self._after(row) for row in wanted])
            self._states = dict(zip(wanted, states, strict=True))

    def settle(self, row: int, step: int) -> StepResult | None:
        """Make the rows written the sequence's own and return the result; None where the caller has left.

        Then it never happened. `step` is the entry's place among the batch's steps.
        """
        sequence, entry = self.entries[row]
        restored, written = self._restored[row], self._written[row]
        if entry.future.done():
            self._give_back(restored, written)
            return None
        if restored is not None:
            sequence.steps = entry.steps
        if written is not None:
            sequence.steps += 1
        if (kept := restored if written is None else written) is not None:
            self._give_back(sequence.slot, None if kept == restored else restored)
            sequence.slot = kept
        state = SequenceState(tuple(self._states[row]), sequence.steps) if row in self._states else None
        return StepResult(self._outputs_of(step) if entry.inputs is not None else {}, sequence.steps, state)

    def give_back(self) -> None:
        """Give every row back that was taken: the run failed."""
        self._give_back(*self._restored, *self._written)

    def _restore(self) -> None:
        restored = [(slot, entry.state) for slot, (_, entry) in zip(self._restored, self.entries, strict=True)]
        rows = [(slot, state) for slot, state in restored if slot is not None and state is not None]
        if rows:
            self._engine.write([slot for slot, _ in rows], [state for _, state in rows])

    def _after(self, row: int) -> int:
        written = self._written[row]
        return self._read[row] if written is None else written

    def _outputs_of(self, step: int) -> Arrays:
        if not self._engine.signature.batches:
            return self._outputs
        return {name: array[step : step + 1] for name, array in self._outputs.items()}

    def _give_back(self, *slots: int | None) -> None:
        for slot in slots:
            if slot is not None:
                self._engine.slots.give_back(slot)


def _controls(spec: SequenceSpec, entries: Entries) -> ControlValues:
    values: ControlValues = {}
    for control in spec.controls:
        if control.kind == "correlation_id":
            values[control.name] = [_correlation_id(sequence.id, control.datatype.name) for sequence, _ in entries]
            continue
        told = {
            "start": [sequence.steps == 0 and entry.steps == 0 for sequence, entry in entries],
            "ready": [True] * len(entries),
            "end": [entry.end for _, entry in entries],
        }[control.kind]
        values[control.name] = [control.true if each else control.false for each in told]
    return values


def _correlation_id(sequence_id: SequenceId, datatype: str) -> SequenceId:
    return str(sequence_id) if datatype == "BYTES" else sequence_id
