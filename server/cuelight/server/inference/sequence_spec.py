"""What makes a model stateful: its state pairs, its control inputs, and how many sequences may live how long.

A *state* is an input that the server feeds with what an output gave in the sequence's step before. A *control input* is
one that the server fills in itself: whether this is a sequence's first or last step, whether the row holds a request at
all, which sequence it is.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cuelight.server.inference.datatypes import Datatype

__all__ = ["READ_SLOTS", "WRITE_SLOTS", "ControlInput", "ControlKind", "SequenceSpec", "StateSpec"]

ControlKind = Literal["start", "ready", "end", "correlation_id"]

READ_SLOTS = "cuelight_read_slots"
"""Input of a rewritten model, INT64 [batch]: the row of each slab that a step starts from."""
WRITE_SLOTS = "cuelight_write_slots"
"""Input of a rewritten model, INT64 [batch, 1]: the row its next state goes to."""


@dataclass(frozen=True, slots=True)
class StateSpec:
    """A state pair. `shape` is that of one sequence's state, without batch axis.

    `batch_axis` is where the model has the batch, None for a model without one. `initial` has `shape`.
    """

    input: str
    output: str
    datatype: Datatype
    shape: tuple[int, ...]
    batch_axis: int | None
    initial: NDArray[Any]

    @property
    def row_bytes(self) -> int:
        """The size of one sequence's state, in bytes."""
        return math.prod(self.shape) * self.datatype.itemsize

    @property
    def slab_input(self) -> str:
        """The rewritten model's input for the slab."""
        return f"cuelight_slab_{self.input}"

    @property
    def slab_output(self) -> str:
        """The rewritten model's output for the slab after the step."""
        return f"cuelight_slab_{self.input}_next"


@dataclass(frozen=True, slots=True)
class ControlInput:
    """An input the server fills in; `shape` as the model file has it, batch axis included.

    `false` and `true` are the values of a flag; a correlation id has none and is the sequence's own id.
    """

    name: str
    kind: ControlKind
    datatype: Datatype
    shape: tuple[int, ...]
    false: float = 0.0
    true: float = 1.0

    def refuses(self, sequence_id: int | str) -> str:
        """Return why the model cannot be told this id, nothing if it can."""
        if self.kind != "correlation_id" or self.datatype.name == "BYTES":
            return ""
        if isinstance(sequence_id, str):
            return f"{sequence_id!r} is a string"
        return f"{sequence_id} is too large" if sequence_id > np.iinfo(self.datatype.dtype).max else ""

    def column(self, values: list[Any], batches: bool) -> NDArray[Any]:
        """Return the input's array for rows with these values."""
        array: NDArray[Any] = np.array(values, dtype=self.datatype.dtype)
        return array.reshape((len(values), *(1,) * (len(self.shape) - 1)) if batches else (1,) * len(self.shape))


@dataclass(frozen=True, slots=True)
class SequenceSpec:
    """How a model's sequences are kept. `max_idle_s` is how long a sequence may go without a step."""

    states: tuple[StateSpec, ...]
    controls: tuple[ControlInput, ...]
    max_sequences: int
    max_idle_s: float
    max_queue_delay_s: float = 0.0
    preferred_batch_sizes: tuple[int, ...] = ()
    visible_outputs: frozenset[str] = field(default_factory=frozenset)
    """State outputs that callers are shown too, because the configuration lists them."""

    @property
    def row_bytes(self) -> int:
        """The size of one sequence's whole state, in bytes."""
        return sum(state.row_bytes for state in self.states)

    @property
    def hidden_inputs(self) -> frozenset[str]:
        """Inputs of the model file that no caller sends."""
        return frozenset((*(state.input for state in self.states), *(control.name for control in self.controls)))

    @property
    def hidden_outputs(self) -> frozenset[str]:
        """Outputs of the model file that no caller gets."""
        return frozenset(state.output for state in self.states) - self.visible_outputs
