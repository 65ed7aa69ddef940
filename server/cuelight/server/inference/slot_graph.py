"""The graph of a stateful model, rewritten once at load so that the state stays where the model runs.

    before   state_in  -> model -> state_out                             the caller carries the state
    after    slab, read_slots  -> Gather    -> state_in -> model         the state is a row of a slab
             slab, write_slots -> ScatterND <- state_out

A slab is (slots, *state) with one row for each live sequence's state. A step reads its sequence's row and writes the
next state into *another* row that is free; which row is the sequence's is decided outside, once the step has succeeded.
So a step that fails has changed nothing, a sequence starts by reading the slab's row of initial values, and nothing in
the graph asks whether it starts. The slab is bound to input and output alike, so ScatterND writes in place: its cost
depends on the rows of the batch and not on the slab's size (measured; unbound, 4,096 slots of an LSTM cost 2.2 ms).

This is the one module of the server that imports onnx, and it is imported when the first stateful model is loaded.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cuelight.server.inference.sequence_spec import READ_SLOTS, WRITE_SLOTS, SequenceSpec, StateSpec

__all__ = ["rewritten", "slab_transfer"]

_LEAST_OPSET = 11
"""The first with ScatterND."""
_TRANSFER_OPSET = 17
_TRANSFER_IR = 8


def rewritten(path: Path, spec: SequenceSpec) -> bytes:
    """Return the serialized model with slabs in place of its states.

    Raises: ValueError naming what about the file makes that impossible.
    """
    model = onnx.load(path, load_external_data=False)
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    if opset < _LEAST_OPSET:
        raise ValueError(f"opset {opset}: a model whose state the server holds needs opset {_LEAST_OPSET} or later")
    before: list[onnx.NodeProto] = []
    after: list[onnx.NodeProto] = []
    for state in spec.states:
        into, out_of = _state_nodes(model, state)
        before += into
        after += out_of
    nodes = [*before, *model.graph.node, *after]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _replace(model.graph.input, {state.input for state in spec.states}, _added_inputs(spec.states))
    outputs = [_slab_info(state.slab_output, state) for state in spec.states]
    _replace(model.graph.output, spec.hidden_outputs, outputs)
    return model.SerializeToString()


def slab_transfer(spec: SequenceSpec) -> tuple[bytes, bytes]:
    """Return two small models over the same slabs: one that reads rows out of them, one that writes rows into them.

    The reader maps `cuelight_read_slots` to one output a state, named as the state's input; the writer takes those
    names as inputs beside `cuelight_write_slots`.
    """
    rows = [helper.make_tensor_value_info(s.input, s.datatype.onnx_number, ["rows", *s.shape]) for s in spec.states]
    slabs = [_slab_info(state.slab_input, state) for state in spec.states]
    read = helper.make_graph(
        [helper.make_node("Gather", [s.slab_input, READ_SLOTS], [s.input], axis=0) for s in spec.states],
        "read",
        [helper.make_tensor_value_info(READ_SLOTS, TensorProto.INT64, ["rows"]), *slabs],
        rows,
    )
    write = helper.make_graph(
        [helper.make_node("ScatterND", [s.slab_input, WRITE_SLOTS, s.input], [s.slab_output]) for s in spec.states],
        "write",
        [helper.make_tensor_value_info(WRITE_SLOTS, TensorProto.INT64, ["rows", 1]), *slabs, *rows],
        [_slab_info(state.slab_output, state) for state in spec.states],
    )
    opset = [helper.make_opsetid("", _TRANSFER_OPSET)]
    models = (helper.make_model(graph, opset_imports=opset, ir_version=_TRANSFER_IR) for graph in (read, write))
    reader, writer = (model.SerializeToString() for model in models)
    return reader, writer


def _state_nodes(model: onnx.ModelProto, state: StateSpec) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
    """Return the nodes from slab to state input, and those from state output to slab."""
    rows, next_rows = f"cuelight_rows_{state.input}", f"cuelight_rows_{state.input}_next"
    gather = helper.make_node("Gather", [state.slab_input, READ_SLOTS], [rows], axis=0)
    scatter = helper.make_node("ScatterND", [state.slab_input, WRITE_SLOTS, next_rows], [state.slab_output])
    if state.batch_axis == 0:
        gather.output[0], scatter.input[2] = state.input, state.output
        return [gather], [scatter]
    if state.batch_axis is None:
        model.graph.initializer.extend(_shapes(state))
        into = helper.make_node("Reshape", [rows, f"{rows}_shape"], [state.input])
        out_of = helper.make_node("Reshape", [state.output, f"{next_rows}_shape"], [next_rows])
    else:
        axis, rank = state.batch_axis, len(state.shape) + 1
        into = helper.make_node(
            "Transpose", [rows], [state.input], perm=[*range(1, axis + 1), 0, *range(axis + 1, rank)]
        )
        back = [axis, *(place for place in range(rank) if place != axis)]
        out_of = helper.make_node("Transpose", [state.output], [next_rows], perm=back)
    return [gather, into], [out_of, scatter]


def _shapes(state: StateSpec) -> list[onnx.TensorProto]:
    """Return the two constant shapes of a state without batch axis: as the model has it, and as one row of the slab."""
    return [
        numpy_helper.from_array(np.array(state.shape, np.int64), f"cuelight_rows_{state.input}_shape"),
        numpy_helper.from_array(np.array((1, *state.shape), np.int64), f"cuelight_rows_{state.input}_next_shape"),
    ]


def _added_inputs(states: Iterable[StateSpec]) -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info(READ_SLOTS, TensorProto.INT64, ["cuelight_rows"]),
        helper.make_tensor_value_info(WRITE_SLOTS, TensorProto.INT64, ["cuelight_rows", 1]),
        *(_slab_info(state.slab_input, state) for state in states),
    ]


def _slab_info(name: str, state: StateSpec) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, state.datatype.onnx_number, ["cuelight_slots", *state.shape])


def _replace(values: Any, gone: Iterable[str], added: list[onnx.ValueInfoProto]) -> None:
    names = set(gone)
    kept = [value for value in values if value.name not in names]
    del values[:]
    values.extend((*kept, *added))
