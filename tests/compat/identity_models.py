"""A repository with one model per datatype that gives back what it takes, and one with labels."""

import json
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from tests.scale_models import golden, scale_model, write_version
from tests.sequence_models import running_sum

ELEM_TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def write_repository(folder: Path) -> None:
    """Write `scale` (times 2), `labelled`, `free` (any length), `slow`, `sum` (with state), `identity_<datatype>`."""
    write_version(folder, "scale", 1, scale_model(2.0), golden(2.0))
    labels = {"cuelight.labels": json.dumps(["tench", "goldfish", "shark", "ray"])}
    write_version(folder, "labelled", 1, scale_model(1.0, metadata=labels))
    write_version(folder, "free", 1, scale_model(3.0, dims=("batch", "length")))
    write_version(folder, "slow", 1, slow_model())
    write_version(folder, "sum", 1, running_sum())
    for datatype, elem_type in ELEM_TYPES.items():
        write_version(folder, f"identity_{datatype.lower()}", 1, identity_model(elem_type))


def identity_model(elem_type: int) -> onnx.ModelProto:
    """Return a model that takes `x` and gives `y = x`, both [batch, 3]."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "identity",
        [helper.make_tensor_value_info("x", elem_type, ["batch", 3])],
        [helper.make_tensor_value_info("y", elem_type, ["batch", 3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def slow_model(steps: int = 2000, size: int = 192) -> onnx.ModelProto:
    """Return a model that gives `y = x`, [batch, 4], after `steps` products of matrices: a good part of a second."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["carried", "square"], ["product"]),
            helper.make_node("Identity", ["going"], ["going_on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, [size, size]),
        ],
        [
            helper.make_tensor_value_info("going_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("product", TensorProto.FLOAT, [size, size]),
        ],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Loop", ["steps", "", "start"], ["end"], body=body),
            helper.make_node("ReduceSum", ["end"], ["total"], keepdims=0),
            helper.make_node("Mul", ["total", "nothing"], ["zero"]),
            helper.make_node("Add", ["x", "zero"], ["y"]),
        ],
        "slow",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [
            helper.make_tensor("steps", TensorProto.INT64, [], [steps]),
            helper.make_tensor("start", TensorProto.FLOAT, [size, size], [0.0] * (size * size)),
            helper.make_tensor("square", TensorProto.FLOAT, [size, size], [0.0] * (size * size)),
            helper.make_tensor("nothing", TensorProto.FLOAT, [], [0.0]),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
