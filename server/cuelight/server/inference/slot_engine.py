"""The engine of a stateful model: one session over slabs that hold the state of every live sequence.

The slabs are bound to the session's inputs and outputs once and never leave the device. A run takes the rows of a batch
(one step each of different sequences), pads them to a size it has been warmed up with (1, 2, 4, ...) and returns the
outputs of the real ones. Input arrays of a size are allocated once and bound once; on a GPU they are copied over in
place.

On the CPU several runs may be under way at once, each in a thread of its own: they share the session and the slabs, of
which no two runs touch the same rows, and each has the bound arrays of its size to itself. A step that costs less than
a hop to a thread may run on the event loop.
"""

import math
import time
from collections.abc import Sequence as Items
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from cuelight.server.inference.engine import SessionConfig
from cuelight.server.inference.sequence_spec import READ_SLOTS, WRITE_SLOTS, SequenceSpec, StateSpec
from cuelight.server.inference.signature import WILDCARD, ModelSignature, TensorSpec
from cuelight.server.inference.slots import SlotTable

__all__ = ["BoundArrays", "ControlValues", "Front", "SlotEngine", "SlotSessions"]

Arrays = dict[str, NDArray[Any]]
_KEPT_OF_A_SIZE = 2

ControlValues = dict[str, list[Any]]
"""Control input -> its value in each row."""


class Front(Protocol):
    """What makes one of the model's inputs out of something else, for a whole batch at once: features out of audio.

    Everything of it is called on threads of the engine, maybe at once.
    """

    input: str

    def fill(self, rows: Items[NDArray[Any]], target: NDArray[Any]) -> None:
        """Write the input's rows into `target`, one for each of `rows`."""
        ...

    def added(self, outputs: Arrays) -> Arrays:
        """Return what its callers need of the outputs, whose names it may not use."""
        ...


class SlotSessions:
    """The sessions of one engine: the rewritten model, and the two that move rows in and out of its slabs."""

    def __init__(self, model: ort.InferenceSession, reader: ort.InferenceSession, writer: ort.InferenceSession) -> None:
        self.model = model
        self.reader = reader
        self.writer = writer


class BoundArrays:
    """The bound arrays of one batch size; of one run at a time."""

    __slots__ = (
        "binding",
        "device_inputs",
        "input_views",
        "inputs",
        "output_views",
        "outputs",
        "read_slots",
        "size",
        "strings",
        "write_slots",
    )

    size: int
    binding: Any
    inputs: Arrays
    outputs: Arrays
    read_slots: NDArray[np.int64]
    write_slots: NDArray[np.int64]
    device_inputs: list[tuple[Any, NDArray[Any]]]
    strings: list[str]
    input_views: dict[str, tuple[memoryview, int]]
    """Input -> its memory, and the size of one row in bytes."""
    output_views: dict[str, tuple[memoryview, int]]


class SlotEngine:
    """One model's session, slabs and threads. `signature` is what callers see: without state and control inputs."""

    def __init__(
        self,
        sessions: SlotSessions,
        signature: ModelSignature,
        spec: SequenceSpec,
        config: SessionConfig,
        runs: int = 1,
    ) -> None:
        """`runs` is how many runs may be under way at once, one thread each."""
        self.config = config
        self.spec = spec
        self.signature = signature
        self.provider = str(sessions.model.get_providers()[0])
        self.runs = runs
        self.executor = ThreadPoolExecutor(max_workers=runs, thread_name_prefix="cuelight-engine")
        self.max_rows = max(signature.max_batch_size, 1)
        self.slots = SlotTable(spec.max_sequences, runs * self.max_rows)
        self.inline_rows = 0
        self.front: Front | None = None
        """Fills its input for steps that bring something else under that name: of other sizes, in a group of theirs."""
        self._example: Arrays = {}
        tensors = (*signature.inputs.values(), *signature.outputs.values())
        plain = signature.fixed and signature.batches and not signature.reject_nonfinite and not spec.controls
        self.takes_bytes = (
            plain and config.device == "cpu" and not any(one.datatype.name in ("BYTES", "BF16") for one in tensors)
        )
        """Whether `step_bytes` may be used."""
        self._sessions: SlotSessions | None = sessions
        self._columns = {control.name: control for control in spec.controls}
        self._slabs = {state.input: self._slab(state.shape, state.datatype.dtype) for state in spec.states}
        self._unused: dict[int, list[BoundArrays]] = {}
        """Size -> what is bound for it and in no run now."""
        self.write([self.slots.initial], [[state.initial[np.newaxis] for state in spec.states]])

    def step(self, requests: Items[Arrays], controls: ControlValues, read: Items[int], write: Items[int]) -> Arrays:
        """Run one step of each request's sequence, from slot `read[i]` to slot `write[i]`.

        A request's inputs have one row each; the outputs have as many rows as there are requests. Not a slot is
        written unless the run succeeds, beside those in `write`.

        Raises: whatever ONNX Runtime raises on a step the model cannot take.
        """
        rows = len(requests)
        if not self.signature.batches:
            return self._run(self._bound(1, requests[0]), requests, controls, read, write)
        size = self._padded(rows)
        if not self.signature.fixed:
            return self._run(self._bound(size, requests[0]), requests, controls, read, write)
        # What a front fills is of other sizes in the requests than in the model.
        bound = self._taken(size, self._example or requests[0])
        outputs = self._run(bound, requests, controls, read, write)
        self.give_back(bound)
        return outputs

    def step_bytes(
        self, rows: Items[tuple[bytes, int, Items[tuple[str, int, int]]]], read: Items[int], write: Items[int]
    ) -> BoundArrays:
        """As `step`, for an engine that `takes_bytes`: a row is a message and where in it each input's bytes lie.

        The places (input, start, end) count from the second element. The outputs are the views of what is returned; it
        has to be given back when they have been read.
        """
        bound = self._taken(self._padded(len(rows)), self._example)
        views = bound.input_views
        for row, (body, base, inputs) in enumerate(rows):
            for name, start, end in inputs:
                view, row_bytes = views[name]
                view[row * row_bytes : row * row_bytes + row_bytes] = body[base + start : base + end]
        self._bind_slots(bound, read, write)
        self._open_sessions().model.run_with_iobinding(bound.binding)
        return bound

    def give_back(self, bound: BoundArrays) -> None:
        """Keep what `step_bytes` returned for the next run of its size; more than two of a size are seldom needed."""
        unused = self._unused.setdefault(bound.size, [])
        if len(unused) < _KEPT_OF_A_SIZE:
            unused.append(bound)

    def read(self, slots: Items[int]) -> list[list[NDArray[Any]]]:
        """Return copies of the slots' rows: for each slot one array a state, in the model's order."""
        reader = self._open_sessions().reader
        if not self.spec.states:
            return [[] for _ in slots]
        binding = reader.io_binding()
        binding.bind_cpu_input(READ_SLOTS, np.array(slots, np.int64))
        for state in self.spec.states:
            binding.bind_ortvalue_input(state.slab_input, self._slabs[state.input])
            binding.bind_output(state.input, "cpu")
        reader.run_with_iobinding(binding)
        columns = [value.numpy() for value in binding.get_outputs()]
        return [[column[index].copy() for column in columns] for index in range(len(slots))]

    def write(self, slots: Items[int], rows: Items[Items[NDArray[Any]]]) -> None:
        """Put `rows`, for each slot one array a state, into the slabs."""
        writer = self._open_sessions().writer
        if not self.spec.states:
            return
        binding = writer.io_binding()
        binding.bind_cpu_input(WRITE_SLOTS, np.array(slots, np.int64).reshape(-1, 1))
        for index, state in enumerate(self.spec.states):
            column = np.stack([row[index].reshape(state.shape) for row in rows]).astype(state.datatype.dtype)
            binding.bind_cpu_input(state.input, column)
            self._bind_slab(binding, state)
        writer.run_with_iobinding(binding)
        binding.synchronize_outputs()

    def warm_up(self, example: Arrays, inline_below_s: float) -> dict[int, float]:
        """Run every batch size on the padding row and return seconds by rows; find which may stay on the event loop.

        `example` is one request's inputs.
        """
        self._example = example
        seconds: dict[int, float] = {}
        rows = 1
        while True:
            seconds[rows] = self._step_time_s(example, rows)
            if rows == self.max_rows:
                break
            rows = min(rows * 2, self.max_rows)
        if self.config.device == "cpu" and self.signature.fixed:
            self.inline_rows = max((rows for rows, each in seconds.items() if each < inline_below_s), default=0)
        return seconds

    def close(self) -> None:
        """Free sessions and slabs, which a run that is under way still holds, and end the threads."""
        self.executor.submit(self._free)
        self.executor.shutdown(wait=False)

    def _step_time_s(self, example: Arrays, rows: int, repeats: int = 5) -> float:
        controls = {name: [control.false] * rows for name, control in self._columns.items()}
        read, write = [self.slots.initial] * rows, [self.slots.padding] * rows
        seconds = math.inf
        for _ in range(repeats):
            started = time.perf_counter()
            self.step([example] * rows, controls, read, write)
            seconds = min(seconds, time.perf_counter() - started)
        return seconds

    def _free(self) -> None:
        self._sessions = None
        self._slabs.clear()
        self._unused.clear()

    def _open_sessions(self) -> SlotSessions:
        sessions = self._sessions
        assert sessions is not None, "the engine is closed"
        return sessions

    def _padded(self, rows: int) -> int:
        """Return how many rows so many are padded to: exact up to 16, then eight sizes to each power of two.

        A padding row costs what anybody's row costs; few sizes keep what is bound for each of them small.
        """
        step = 1 << max(0, (rows - 1).bit_length() - 4)
        return min(-(-rows // step) * step, self.max_rows)

    def _taken(self, size: int, example: Arrays) -> BoundArrays:
        """Return what is bound for `size` rows and in no run, bound now if there is none; see `give_back`."""
        try:
            return self._unused[size].pop()
        except (KeyError, IndexError):
            return self._bound(size, example)

    def _bound(self, size: int, example: Arrays) -> BoundArrays:
        """Allocate and bind everything for `size` rows of the example's sizes."""
        bound = BoundArrays()
        bound.size = size
        bound.binding = self._open_sessions().model.io_binding()
        bound.device_inputs, bound.strings = [], []
        batches = self.signature.batches
        bound.inputs = {}
        for name, array in example.items():
            shape = (size, *array.shape[1:]) if batches else array.shape
            bound.inputs[name] = np.zeros(shape, array.dtype)
        for name, control in self._columns.items():
            bound.inputs[name] = control.column([control.false] * size, batches)
        for name, array in bound.inputs.items():
            self._bind_input(bound, name, array)
        bound.read_slots = np.full(size, self.slots.initial, np.int64)
        bound.write_slots = np.full((size, 1), self.slots.padding, np.int64)
        if self.spec.states:
            self._bind_input(bound, READ_SLOTS, bound.read_slots)
            self._bind_input(bound, WRITE_SLOTS, bound.write_slots)
        bound.outputs = {name: self._output(bound, spec, size) for name, spec in self.signature.outputs.items()}
        if self.takes_bytes:
            bound.input_views = {
                name: (_bytes_view(array), array.nbytes // size) for name, array in bound.inputs.items()
            }
            bound.output_views = {
                name: (_bytes_view(array), array.nbytes // size) for name, array in bound.outputs.items()
            }
        for state in self.spec.states:
            self._bind_slab(bound.binding, state)
        return bound

    def _bind_input(self, bound: BoundArrays, name: str, array: NDArray[Any]) -> None:
        if array.dtype == object:
            # ONNX Runtime keeps strings in a form of its own: they are bound anew for every run.
            bound.strings.append(name)
            return
        value = ort.OrtValue.ortvalue_from_numpy(array, self.config.device, self.config.device_id)
        if self.config.device != "cpu":
            bound.device_inputs.append((value, array))
        bound.binding.bind_ortvalue_input(name, value)

    def _output(self, bound: BoundArrays, spec: TensorSpec, size: int) -> NDArray[Any]:
        """Bind an output to an array of its own; where its size is not known before the run, ONNX Runtime makes one."""
        shape = (size, *spec.shape[1:]) if self.signature.batches else spec.shape
        known = WILDCARD not in shape and spec.datatype.name not in ("BYTES", "BF16")
        if not known or self.config.device != "cpu":
            bound.binding.bind_output(spec.name, "cpu")
            return np.empty(0)
        array = np.zeros(shape, spec.datatype.dtype)
        bound.binding.bind_ortvalue_output(spec.name, ort.OrtValue.ortvalue_from_numpy(array))
        return array

    def _bind_slab(self, binding: Any, state: StateSpec) -> None:
        slab = self._slabs[state.input]
        binding.bind_ortvalue_input(state.slab_input, slab)
        binding.bind_ortvalue_output(state.slab_output, slab)

    def _run(
        self, bound: BoundArrays, requests: Items[Arrays], controls: ControlValues, read: Items[int], write: Items[int]
    ) -> Arrays:
        rows = len(requests)
        batches = self.signature.batches
        front = None
        for name in requests[0]:
            target = bound.inputs[name]
            if self.front is not None and name == self.front.input and requests[0][name].shape[1:] != target.shape[1:]:
                front = self.front
                front.fill([request[name] for request in requests], target[:rows])
            elif not batches:
                target[...] = requests[0][name]
            elif rows == 1:
                target[:1] = requests[0][name]
            else:
                np.concatenate([request[name] for request in requests], out=target[:rows])
        for name, values in controls.items():
            control = self._columns[name]
            padding = [control.false] * (len(bound.read_slots) - rows)
            bound.inputs[name][...] = control.column([*values, *padding], batches)
        self._bind_slots(bound, read, write)
        for value, array in bound.device_inputs:
            value.update_inplace(array)
        for name in bound.strings:
            bound.binding.bind_cpu_input(name, bound.inputs[name])
        self._open_sessions().model.run_with_iobinding(bound.binding)
        outputs = self._outputs(bound, rows)
        return outputs if front is None else outputs | front.added(outputs)

    def _bind_slots(self, bound: BoundArrays, read: Items[int], write: Items[int]) -> None:
        rows = len(read)
        bound.read_slots[:rows] = read
        bound.write_slots[:rows, 0] = write
        # What an earlier, larger batch left behind must not write into anybody's row.
        bound.read_slots[rows:] = self.slots.initial
        bound.write_slots[rows:] = self.slots.padding

    def _outputs(self, bound: BoundArrays, rows: int) -> Arrays:
        made: Items[Any] = ()
        answers: Arrays = {}
        for place, (name, own) in enumerate(bound.outputs.items()):
            if not own.size:
                made = made or bound.binding.get_outputs()
            array = own if own.size else made[place].numpy()
            answers[name] = array[:rows].copy() if self.signature.batches else array.copy()
        return answers

    def _slab(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return a slab of zeros; on the CPU its memory is touched, and so taken, only where a sequence is."""
        whole = (self.slots.rows, *shape)
        if self.config.device == "cpu":
            return ort.OrtValue.ortvalue_from_numpy(np.zeros(whole, dtype))
        return ort.OrtValue.ortvalue_from_shape_and_type(whole, dtype, self.config.device, self.config.device_id)


def _bytes_view(array: NDArray[Any]) -> memoryview:
    # The stubs of NumPy before Python 3.12 do not say that an array is a buffer.
    return memoryview(array.reshape(-1)).cast("B")  # type: ignore[arg-type,unused-ignore]
