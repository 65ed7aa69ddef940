"""Stateful ONNX models for tests, and what they must answer: each can be run alone, in this process, with its state."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Arrays = dict[str, NDArray[Any]]

INPUT_SIZE, HIDDEN_SIZE, OUTPUT_SIZE = 8, 16, 4
LSTM_STATE = '[{"input": "h", "output": "h_next"}, {"input": "c", "output": "c_next"}]'


def lstm_model(
    hidden: int = HIDDEN_SIZE,
    inputs: int = INPUT_SIZE,
    outputs: int = OUTPUT_SIZE,
    seed: int = 0,
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """Return one LSTM step: `x` [batch, inputs], `h` and `c` [batch, hidden] -> `y` [batch, outputs] and next state."""
    generator = np.random.default_rng(seed)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array((generator.standard_normal(shape) * 0.3).astype(np.float32), name)

    nodes = [
        *(helper.make_node("Unsqueeze", [name, "first"], [f"{name}_in_time"]) for name in ("x", "h", "c")),
        helper.make_node(
            "LSTM", ["x_in_time", "W", "R", "B", "", "h_in_time", "c_in_time"], ["", "h_last", "c_last"],
            hidden_size=hidden,
        ),
        helper.make_node("Squeeze", ["h_last", "first"], ["h_next"]),
        helper.make_node("Squeeze", ["c_last", "first"], ["c_next"]),
        helper.make_node("Gemm", ["h_next", "P", "bias"], ["y"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "lstm",
        [_floats("x", inputs), _floats("h", hidden), _floats("c", hidden)],
        [_floats("y", outputs), _floats("h_next", hidden), _floats("c_next", hidden)],
        [
            weights("W", 1, 4 * hidden, inputs),
            weights("R", 1, 4 * hidden, hidden),
            weights("B", 1, 8 * hidden),
            weights("P", hidden, outputs),
            weights("bias", outputs),
            numpy_helper.from_array(np.array([0], np.int64), "first"),
        ],
    )
    return _model(graph, {"cuelight.state": LSTM_STATE, **(metadata or {})})


def running_sum(
    batch_axis: int | None = 0, elem_type: int = TensorProto.FLOAT, state: str | None = None
) -> onnx.ModelProto:
    """Return `total = total_before + x`, shape [batch, 2], the state's batch on any axis; None: no batch at all."""
    shapes: dict[int | None, list[Any]] = {0: ["batch", 2], 1: [2, "batch"], None: [2]}
    state_shape = shapes[batch_axis]
    shape: list[Any] = ["batch", 2] if batch_axis is not None else [2]
    turned = batch_axis == 1
    nodes = [
        helper.make_node("Transpose", ["before"], ["before_first"]) if turned else _same("before", "before_first"),
        helper.make_node("Add", ["x", "before_first"], ["total"]),
        helper.make_node("Transpose", ["total"], ["after"]) if turned else _same("total", "after"),
    ]
    graph = helper.make_graph(
        nodes,
        "sum",
        [helper.make_tensor_value_info("x", elem_type, shape), _value("before", elem_type, state_shape)],
        [helper.make_tensor_value_info("total", elem_type, shape), _value("after", elem_type, state_shape)],
    )
    axis = "null" if batch_axis is None else str(batch_axis)
    declared = state or f'[{{"input": "before", "output": "after", "batch_axis": {axis}}}]'
    return _model(graph, {"cuelight.state": declared})


def sum_over_table() -> onnx.ModelProto:
    """Return a running sum over `table[index]`: an index beyond the table fails the whole batch."""
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "index"], ["x"]),
            helper.make_node("Add", ["x", "before"], ["after"]),
            helper.make_node("Identity", ["after"], ["total"]),
        ],
        "table",
        [
            helper.make_tensor_value_info("index", TensorProto.INT64, ["batch", 1]),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, ["batch", 1]),
        ],
        [
            helper.make_tensor_value_info("total", TensorProto.FLOAT, ["batch", 1]),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, ["batch", 1]),
        ],
        [helper.make_tensor("table", TensorProto.FLOAT, [4], [1.0, 10.0, 100.0, 1000.0])],
    )
    return _model(graph, {"cuelight.state": '[{"input": "before", "output": "after"}]'})


TOLD_CONFIG = """sequence_batching {
  control_input { name: "start" control { kind: CONTROL_SEQUENCE_START fp32_false_true: [ -1, 1 ] } }
  control_input { name: "ready" control { kind: CONTROL_SEQUENCE_READY int32_false_true: [ 0, 1 ] } }
  control_input { name: "end" control { kind: CONTROL_SEQUENCE_END bool_false_true: [ false, true ] } }
  control_input { name: "id" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } }
}"""


def told_model() -> onnx.ModelProto:
    """Return a model without state that gives back its control inputs."""
    types = {
        "start": TensorProto.FLOAT, "ready": TensorProto.INT32, "end": TensorProto.BOOL, "id": TensorProto.UINT64
    }  # fmt: skip
    graph = helper.make_graph(
        [
            *(helper.make_node("Cast", [name], [f"{name}_out"], to=TensorProto.FLOAT) for name in types),
            helper.make_node("Identity", ["x"], ["y"]),
        ],
        "told",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2]),
            *(helper.make_tensor_value_info(name, kind, ["batch", 1]) for name, kind in types.items()),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2]),
            *(helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, ["batch", 1]) for name in types),
        ],
    )
    return _model(graph, {})


class Alone:
    """A model run alone, one sequence at a time, with ONNX Runtime and nothing else: what the server must answer."""

    def __init__(self, model: onnx.ModelProto | Path, pairs: Mapping[str, str]) -> None:
        """`pairs` maps each state's input to its output."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        source = str(model) if isinstance(model, Path) else model.SerializeToString()
        self._session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        self._pairs = dict(pairs)
        self._shapes = {
            value.name: ([1 if isinstance(size, str) else size for size in value.shape], value.type)
            for value in self._session.get_inputs()
        }

    def begin(self) -> Arrays:
        """Return the state a sequence starts from."""
        dtypes = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64}
        return {name: np.zeros(self._shapes[name][0], dtypes[self._shapes[name][1]]) for name in self._pairs}

    def step(self, state: Arrays, inputs: Arrays) -> tuple[Arrays, Arrays]:
        """Return the outputs, without state, and the next state."""
        names = [value.name for value in self._session.get_outputs()]
        given = dict(zip(names, self._session.run(names, {**inputs, **state}), strict=True))
        following = {taken: given.pop(made) for taken, made in self._pairs.items()}
        return given, following


LSTM_PAIRS = {"h": "h_next", "c": "c_next"}


def _same(taken: str, made: str) -> onnx.NodeProto:
    return helper.make_node("Identity", [taken], [made])


def _value(name: str, elem_type: int, shape: list[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, elem_type, shape)


def _floats(name: str, size: int) -> onnx.ValueInfoProto:
    return _value(name, TensorProto.FLOAT, ["batch", size])


def _model(graph: onnx.GraphProto, metadata: Mapping[str, str]) -> onnx.ModelProto:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, dict(metadata))
    return model
