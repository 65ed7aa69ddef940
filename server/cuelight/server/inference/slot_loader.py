"""From a stateful model file to engines that are warm and proven. Runs off the event loop."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from cuelight.server.inference.engine import SessionConfig, open_session
from cuelight.server.inference.example_requests import one_row
from cuelight.server.inference.loader import InstanceConfig, ModelLoadError
from cuelight.server.inference.model_version import INLINE_STEP_S, StepTimes
from cuelight.server.inference.sequence_spec import SequenceSpec
from cuelight.server.inference.signature import ModelSignature
from cuelight.server.inference.slot_engine import SlotEngine, SlotSessions

__all__ = ["LoadedSlots", "load_slot_engines", "run_golden_case"]

Arrays = dict[str, NDArray[Any]]

_LONG_STEP_S = 0.05
"""A step of one row that takes longer may be worth several threads. Others run beside each other, a thread each: that
takes as many steps a second and up to a third less CPU time (measured, an LSTM of 2 x 512 units on two cores)."""
_MORE_THREADS_PAY = 0.67
"""The share of a one-thread step's time that a step on all cores may take at most to be given them: two cores that
save less than a third of it are better spent on two other things."""


@dataclass(frozen=True, slots=True)
class LoadedSlots:
    """Engines that are warm, how long a step takes by rows, and whether company in a batch changes a row's bits."""

    engines: list[SlotEngine]
    steps: StepTimes
    batch_difference: float
    """The largest absolute difference between a row run alone and in a full batch; 0 means the same bits."""


def load_slot_engines(
    model: Path,
    signature: ModelSignature,
    spec: SequenceSpec,
    instances: InstanceConfig,
    cores: int,
    example: Arrays | None,
) -> LoadedSlots:
    """Rewrite the model, open it once per instance and warm every batch size up.

    `example` is a request the model is known to take, of any number of rows; without one, zeros have to do.

    Raises: ModelLoadError naming the file and the cause.
    """
    # onnx takes 12 MiB, and most servers hold no state.
    from cuelight.server.inference.slot_graph import rewritten, slab_transfer  # noqa: PLC0415

    request = one_row(signature, example)
    try:
        text = rewritten(model, spec) if spec.states else model.read_bytes()
        transfer = slab_transfer(spec) if spec.states else None
    except Exception as error:
        # onnx raises types of its own for every way a file can be odd; all mean the same here.
        raise ModelLoadError(f"{model}: cannot hold its state: {error}") from error

    def opened(config: SessionConfig, runs: int) -> tuple[SlotEngine, dict[int, float]]:
        try:
            sessions = _sessions(text, transfer, config, model.parent)
            engine = SlotEngine(sessions, signature, spec, config, runs)
            return engine, engine.warm_up(request, INLINE_STEP_S)
        except Exception as error:
            # As above, for ONNX Runtime.
            raise ModelLoadError(f"{model}: warming it up with its state held failed: {error}") from error

    threads = max(1, cores // instances.count) if instances.device == "cpu" else 1
    configs = [
        SessionConfig(instances.device, instances.device_ids[index % len(instances.device_ids)], 1)
        for index in range(instances.count)
    ]
    first, seconds = opened(configs[0], threads)
    if threads > 1 and seconds[1] > _LONG_STEP_S:
        wide, wide_seconds = opened(SessionConfig(instances.device, configs[0].device_id, threads), 1)
        pays = wide_seconds[1] < _MORE_THREADS_PAY * seconds[1]
        (first if pays else wide).close()
        first, seconds = (wide, wide_seconds) if pays else (first, seconds)
    engines = [first]
    for config in configs[1:]:
        engines.append(opened(SessionConfig(config.device, config.device_id, first.config.threads), first.runs)[0])
    return LoadedSlots(engines, StepTimes(seconds), _batch_difference(first, request))


def run_golden_case(engine: SlotEngine, feeds: Arrays, outputs: tuple[str, ...]) -> list[NDArray[Any]]:
    """Run a case of the whole model file, its state among inputs and outputs, through the slots.

    The case's state is written to rows, one step is run, and the rows it wrote are read back. Returns the outputs in
    the order of `outputs`.
    """
    spec, batches = engine.spec, engine.signature.batches
    visible = {name: array for name, array in feeds.items() if name not in spec.hidden_inputs}
    rows = next(iter(visible.values())).shape[0] if batches else 1
    results: list[Arrays] = []
    for start in range(0, rows, engine.max_rows):
        count = min(engine.max_rows, rows - start)
        part = slice(start, start + count)
        read, write = ([engine.slots.take() for _ in range(count)] for _ in range(2))
        columns = [_rows(feeds[state.input], state.batch_axis)[part] for state in spec.states]
        engine.write(read, [[column[row] for column in columns] for row in range(count)])
        requests = [
            {name: array[start + row : start + row + 1] if batches else array for name, array in visible.items()}
            for row in range(count)
        ]
        controls = {control.name: list(feeds[control.name][part].reshape(-1)) for control in spec.controls}
        given = engine.step(requests, controls, read, write)
        states = engine.read(write)
        for index, state in enumerate(spec.states):
            column = np.stack([row[index] for row in states])
            given[state.output] = column[0] if state.batch_axis is None else np.moveaxis(column, 0, state.batch_axis)
        results.append(given)
        for slot in (*read, *write):
            engine.slots.give_back(slot)
    axes = {state.output: state.batch_axis or 0 for state in spec.states}
    if len(results) == 1:
        return [results[0][name] for name in outputs]
    return [np.concatenate([part[name] for part in results], axes.get(name, 0)) for name in outputs]


def _sessions(text: bytes, transfer: tuple[bytes, bytes] | None, config: SessionConfig, folder: Path) -> SlotSessions:
    model: ort.InferenceSession = open_session(text, config, folder)
    if transfer is None:
        return SlotSessions(model, model, model)
    small = SessionConfig(config.device, config.device_id, 1)
    return SlotSessions(model, open_session(transfer[0], small), open_session(transfer[1], small))


def _rows(state: NDArray[Any], batch_axis: int | None) -> NDArray[Any]:
    """Return the state with the batch in front."""
    return state[np.newaxis] if batch_axis is None else np.moveaxis(state, batch_axis, 0)


def _batch_difference(engine: SlotEngine, example: Arrays) -> float:
    """Return the largest difference between rows run alone and the same rows run together, outputs and states.

    Every batch size is tried, each row from the state that a step before has led to: from zeros a recurrent layer's
    sums are the same in any order.
    """
    if engine.max_rows == 1:
        return 0.0
    generator = np.random.default_rng(0)
    most = min(engine.max_rows, engine.spec.max_sequences)
    first, second = ([_varied(example, generator) for _ in range(most)] for _ in range(2))
    before, after = ([engine.slots.take() for _ in range(most)] for _ in range(2))
    controls = {control.name: [control.true] * most for control in engine.spec.controls}
    try:
        for row in range(most):
            engine.step([first[row]], _cut(controls, 1), [engine.slots.initial], [before[row]])
        alone = [
            _everything(engine, [second[row]], _cut(controls, 1), [before[row]], [after[row]]) for row in range(most)
        ]
        worst, rows = 0.0, 1
        while rows < most:
            rows = min(rows * 2, most)
            together = _everything(engine, second[:rows], _cut(controls, rows), before[:rows], after[:rows])
            for row in range(rows):
                worst = max(worst, *(_difference(w[row], s[0]) for w, s in zip(together, alone[row], strict=True)))
        return worst
    finally:
        for slot in (*before, *after):
            engine.slots.give_back(slot)


def _cut(controls: dict[str, list[Any]], rows: int) -> dict[str, list[Any]]:
    return {name: values[:rows] for name, values in controls.items()}


def _difference(one: NDArray[Any], other: NDArray[Any]) -> float:
    difference = np.abs(one.astype(np.float64) - other.astype(np.float64))
    return float(np.nan_to_num(difference, nan=0.0).max(initial=0.0))


def _everything(
    engine: SlotEngine, requests: list[Arrays], controls: dict[str, list[Any]], read: list[int], write: list[int]
) -> list[NDArray[Any]]:
    """Return the outputs and the next states, each with the batch in front; strings left out."""
    outputs = engine.step(requests, controls, read, write)
    states = [np.stack(column) for column in zip(*engine.read(write), strict=True)]
    return [array for array in (*outputs.values(), *states) if array.dtype != object]


def _varied(example: Arrays, generator: np.random.Generator) -> Arrays:
    """Return the request with noise on its real numbers, so that no two rows are alike."""
    return {
        name: array + generator.standard_normal(array.shape).astype(array.dtype) * array.dtype.type(0.1)
        if array.dtype.kind == "f"
        else array
        for name, array in example.items()
    }
