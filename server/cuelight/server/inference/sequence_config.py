"""From a configuration and a model file to a `SequenceSpec`: which tensors are state, which are controls.

States come from `sequence_batching { state { ... } }` in config.pbtxt, as Triton spells it, or from the file's metadata
`cuelight.state`: `[{"input": "h", "output": "h_next", "batch_axis": 1, "initial": "zeros"}]`, `initial` being "zeros",
the default, or nested lists of numbers. The configuration wins where it lists any. A file whose metadata declares state
is served statefully with no configuration at all. `cuelight.max_queue_delay_us` is how long a step may wait for
company, if the configuration names no strategy.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.inference.v2 import model_config_pb2
from cuelight.server.config import SequenceConfig
from cuelight.server.inference.control_inputs import controls_of
from cuelight.server.inference.datatypes import DATATYPE_OF_ORT_TYPE, Datatype
from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.inference.onnx_facts import OnnxFacts, TensorFacts
from cuelight.server.inference.sequence_spec import SequenceSpec, StateSpec
from cuelight.server.inference.signature import WILDCARD

__all__ = ["INITIAL_STATE_FOLDER", "sequence_spec_of", "show_sequences"]

INITIAL_STATE_FOLDER = "initial_state"
"""Below the model's folder: where Triton keeps the `data_file` of an initial state."""

_METADATA_KEY = "cuelight.state"
_DELAY_KEY = "cuelight.max_queue_delay_us"
_LONGEST_DELAY_US = 60_000_000
_ENTRY_KEYS = {"input", "output", "batch_axis", "initial"}
_NOT_HELD = ("BYTES", "BF16")

_State = model_config_pb2.ModelSequenceBatching.State


def sequence_spec_of(
    config: model_config_pb2.ModelConfig,
    metadata: Mapping[str, str],
    facts: OnnxFacts,
    folder: Path,
    limits: SequenceConfig,
    source: str,
) -> SequenceSpec | None:
    """Return how the model keeps sequences; None for a model without state that asks for no sequences.

    Raises: ModelLoadError naming the tensor or field, what came and what was expected.
    """
    asked = config.WhichOneof("scheduling_choice") == "sequence_batching"
    batching = config.sequence_batching
    if asked and len(batching.state):
        states = [
            _configured(state, facts, folder, f"{source}: state {state.input_name!r}") for state in batching.state
        ]
    else:
        states = [_from_metadata(entry, facts, where) for entry, where in _entries(metadata, source)]
    if not asked and not states:
        return None
    _check_distinct(states, source)
    oldest = batching.oldest
    visible = frozenset(output.name for output in config.output) & {state.output for state in states}
    return SequenceSpec(
        states=tuple(states),
        controls=controls_of(batching.control_input, facts, source),
        max_sequences=_capacity(states, oldest.max_candidate_sequences, limits, source),
        max_idle_s=batching.max_sequence_idle_microseconds / 1e6 or limits.max_idle_s,
        max_queue_delay_s=_queue_delay_us(batching, metadata, source) / 1e6,
        preferred_batch_sizes=tuple(sorted(set(oldest.preferred_batch_size))),
        visible_outputs=visible,
    )


def show_sequences(config: model_config_pb2.ModelConfig, spec: SequenceSpec, source: str) -> None:
    """Complete `sequence_batching` with what holds, for callers who ask for the configuration.

    Raises: ModelLoadError when a state has no batch axis but the model batches.
    """
    without = [state.input for state in spec.states if state.batch_axis is None]
    if config.max_batch_size > 0 and without:
        raise ModelLoadError(
            f"{source}: max_batch_size is {config.max_batch_size}, but state {', '.join(without)} has no batch axis"
        )
    for size in spec.preferred_batch_sizes:
        if not 1 <= size <= max(config.max_batch_size, 1):
            raise ModelLoadError(
                f"{source}: oldest.preferred_batch_size: got {size}, "
                f"expected 1 to {config.max_batch_size} (max_batch_size)"
            )
    batching = config.sequence_batching
    batching.max_sequence_idle_microseconds = round(spec.max_idle_s * 1e6)
    if not batching.WhichOneof("strategy_choice"):
        batching.oldest.max_candidate_sequences = spec.max_sequences
        batching.oldest.max_queue_delay_microseconds = round(spec.max_queue_delay_s * 1e6)
    if not len(batching.state):
        for state in spec.states:
            batching.state.add(
                input_name=state.input,
                output_name=state.output,
                data_type=model_config_pb2.DataType.Value(f"TYPE_{state.datatype.name}"),
                dims=state.shape,
            )


def _queue_delay_us(batching: model_config_pb2.ModelSequenceBatching, metadata: Mapping[str, str], source: str) -> int:
    if batching.WhichOneof("strategy_choice"):
        return batching.oldest.max_queue_delay_microseconds or batching.direct.max_queue_delay_microseconds
    text = metadata.get(_DELAY_KEY, "0")
    if not text.isdecimal() or int(text) > _LONGEST_DELAY_US:
        raise ModelLoadError(
            f'{source}: metadata "{_DELAY_KEY}": got {text!r}, expected microseconds, at most {_LONGEST_DELAY_US}'
        )
    return int(text)


def _entries(metadata: Mapping[str, str], source: str) -> list[tuple[Mapping[str, Any], str]]:
    where = f'{source}: metadata "{_METADATA_KEY}"'
    try:
        entries = json.loads(metadata.get(_METADATA_KEY, "[]"))
    except ValueError as error:
        raise ModelLoadError(f"{where}: not valid JSON: {error}") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ModelLoadError(f"{where}: expected a JSON list of objects")
    return [(entry, f"{where}[{index}]") for index, entry in enumerate(entries)]


def _from_metadata(entry: Mapping[str, Any], facts: OnnxFacts, where: str) -> StateSpec:
    if not _ENTRY_KEYS.issuperset(entry) or not {"input", "output"}.issubset(entry):
        raise ModelLoadError(f'{where}: expected "input", "output" and perhaps "batch_axis" and "initial"')
    taken, given = _pair(entry["input"], entry["output"], facts, where)
    axis = entry.get("batch_axis", _batch_axis(taken, facts))
    if isinstance(axis, bool) or not (axis is None or (isinstance(axis, int) and 0 <= axis < len(taken.shape))):
        raise ModelLoadError(f"{where}: batch_axis: got {axis!r}, expected an axis of {_text(taken.sizes)}, or null")
    shape = _fixed_shape(taken, given, axis, where)
    datatype = _datatype(taken, given, where)
    initial = entry.get("initial", "zeros")
    if initial == "zeros":
        return StateSpec(taken.name, given.name, datatype, shape, axis, np.zeros(shape, datatype.dtype))
    try:
        values = np.array(initial, dtype=np.float64).astype(datatype.dtype).reshape(shape)
    except (ValueError, TypeError) as error:
        raise ModelLoadError(
            f'{where}: initial: expected "zeros" or numbers of shape {_text(shape)}: {error}'
        ) from error
    return StateSpec(taken.name, given.name, datatype, shape, axis, values)


def _configured(state: _State, facts: OnnxFacts, folder: Path, where: str) -> StateSpec:
    if state.use_growable_memory:
        raise ModelLoadError(f"{where}: use_growable_memory: {_GROWS}")
    taken, given = _pair(state.input_name, state.output_name, facts, where)
    axis = _batch_axis(taken, facts)
    dims = tuple(state.dims)
    shape = _fixed_shape(_with_dims(taken, dims, axis, where), given, axis, where)
    datatype = _datatype(taken, given, where)
    wanted = model_config_pb2.DataType.Name(state.data_type)
    if state.data_type and wanted != f"TYPE_{datatype.name}":
        raise ModelLoadError(f"{where}: data_type {wanted}, but the model file has {taken.ort_type}")
    return StateSpec(taken.name, given.name, datatype, shape, axis, _initial(state, shape, datatype, folder, where))


def _initial(state: _State, shape: tuple[int, ...], datatype: Datatype, folder: Path, where: str) -> NDArray[Any]:
    if len(state.initial_state) > 1:
        raise ModelLoadError(f"{where}: initial_state: got {len(state.initial_state)}, expected at most one")
    if not state.initial_state or not state.initial_state[0].data_file:
        return np.zeros(shape, datatype.dtype)
    name = state.initial_state[0].data_file
    # Judged by its text, as label files are.
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ModelLoadError(f'{where}: data_file "{name}": lies outside the model\'s folder')
    try:
        data = (folder / INITIAL_STATE_FOLDER / name).read_bytes()
    except OSError as error:
        raise ModelLoadError(f'{where}: data_file "{name}": cannot be read: {error.strerror}') from error
    expected = math.prod(shape) * datatype.itemsize
    if len(data) != expected:
        raise ModelLoadError(
            f'{where}: data_file "{name}": expected {expected} bytes of {datatype.name} {_text(shape)}, got {len(data)}'
        )
    return np.frombuffer(data, datatype.dtype).reshape(shape)


def _pair(input_name: Any, output_name: Any, facts: OnnxFacts, where: str) -> tuple[TensorFacts, TensorFacts]:
    taken = next((tensor for tensor in facts.inputs if tensor.name == input_name), None)
    given = next((tensor for tensor in facts.outputs if tensor.name == output_name), None)
    if taken is None:
        names = ", ".join(tensor.name for tensor in facts.inputs)
        raise ModelLoadError(f'{where}: input "{input_name}": not in the model, which has {names}')
    if given is None:
        names = ", ".join(tensor.name for tensor in facts.outputs)
        raise ModelLoadError(f'{where}: output "{output_name}": not in the model, which has {names}')
    return taken, given


def _batch_axis(state: TensorFacts, facts: OnnxFacts) -> int | None:
    """Return the axis of free size, or the one of the name that other inputs have in front, where there are several."""
    free = [axis for axis, size in enumerate(state.sizes) if size == WILDCARD]
    if len(free) <= 1:
        return free[0] if free else None
    names = {tensor.shape[0] for tensor in facts.inputs if tensor.shape and isinstance(tensor.shape[0], str)}
    named = [axis for axis in free if state.shape[axis] in names]
    return named[0] if named else free[0]


def _with_dims(state: TensorFacts, dims: tuple[int, ...], axis: int | None, where: str) -> TensorFacts:
    """Return the state with the sizes that the configuration gives, which leave the batch axis out."""
    if not dims:
        return state
    own = tuple(size for place, size in enumerate(state.sizes) if place != axis)
    if len(dims) != len(own) or any(there not in (WILDCARD, size) for size, there in zip(dims, own, strict=True)):
        raise ModelLoadError(f"{where}: dims {_text(dims)}, but the model file has {_text(own)} beside the batch axis")
    shape: list[int | str | None] = list(dims)
    if axis is not None:
        shape.insert(axis, None)
    return TensorFacts(state.name, state.ort_type, tuple(shape))


def _fixed_shape(taken: TensorFacts, given: TensorFacts, axis: int | None, where: str) -> tuple[int, ...]:
    for place, size in enumerate(taken.sizes):
        if place != axis and size == WILDCARD:
            raise ModelLoadError(f"{where}: axis {place} of {_text(taken.shape)} is of free size: {_GROWS}")
    known = given.sizes if len(given.sizes) == len(taken.sizes) else ()
    for place, size in enumerate(taken.sizes):
        if place != axis and known and known[place] not in (WILDCARD, size):
            raise ModelLoadError(
                f'{where}: input "{taken.name}" is {_text(taken.shape)}, '
                f'but output "{given.name}" is {_text(given.shape)}: {_GROWS}'
            )
    return tuple(size for place, size in enumerate(taken.sizes) if place != axis)


_GROWS = (
    "a state that grows cannot be held; export it with a fixed length, such as an attention cache "
    "of the last N frames that drops its oldest as it takes a new one"
)


def _datatype(taken: TensorFacts, given: TensorFacts, where: str) -> Datatype:
    datatype = DATATYPE_OF_ORT_TYPE.get(taken.ort_type)
    if taken.ort_type != given.ort_type:
        raise ModelLoadError(f"{where}: the input is {taken.ort_type}, the output {given.ort_type}; they must agree")
    if datatype is None or datatype.name in _NOT_HELD:
        raise ModelLoadError(f"{where}: {taken.ort_type} cannot be held as state")
    return datatype


def _check_distinct(states: Sequence[StateSpec], source: str) -> None:
    for names in ([state.input for state in states], [state.output for state in states]):
        for name in names:
            if names.count(name) > 1:
                raise ModelLoadError(f'{source}: tensor "{name}" belongs to two states')
    if len({state.batch_axis is None for state in states}) > 1:
        without = ", ".join(state.input for state in states if state.batch_axis is None)
        raise ModelLoadError(f"{source}: states {without} have no batch axis, but other states have one")


def _capacity(states: Sequence[StateSpec], candidates: int, limits: SequenceConfig, source: str) -> int:
    row_bytes = sum(state.row_bytes for state in states)
    capacity = min(candidates or limits.max_sequences, limits.max_sequences)
    if candidates < 0:
        raise ModelLoadError(f"{source}: max_candidate_sequences: got {candidates}, expected 0 (no limit) or more")
    if row_bytes:
        capacity = min(capacity, limits.state_memory_bytes // row_bytes)
    if capacity < 1:
        raise ModelLoadError(
            f"{source}: one sequence takes {row_bytes} bytes of state, "
            f"sequences.state_memory_bytes is {limits.state_memory_bytes}"
        )
    return capacity


def _text(shape: Sequence[int | str | None]) -> str:
    return f"[{','.join(str(size) for size in shape)}]"
