"""The models that are measured: made here, so that a benchmark needs no weights."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["INPUT_SHAPES", "write_models"]

INPUT_SHAPES = {"tiny": (64,), "cnn": (3, 64, 64)}
"""One row of `INPUT`, FP32."""
_CNN_WEIGHTS = {"w1": (32, 3, 3, 3), "w2": (64, 32, 3, 3), "w3": (64, 64, 3, 3), "w4": (64, 10)}
"""Multiplications and additions: 2 * (32*32*32*27 + 16*16*64*288 + 8*8*64*576) = 16 million."""


def write_models(repository: Path) -> None:
    """Write `tiny`, a perceptron 64-64-64, and `cnn`, three convolutions of 16 MFLOP together."""
    _write(repository, "tiny", _tiny_nodes(), {"w1": (64, 64), "w2": (64, 64)}, ["batch", 64])
    _write(repository, "cnn", _cnn_nodes(), _CNN_WEIGHTS, ["batch", 10])


def _tiny_nodes() -> list[onnx.NodeProto]:
    return [
        helper.make_node("MatMul", ["INPUT", "w1"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("MatMul", ["active", "w2"], ["OUTPUT"]),
    ]


def _cnn_nodes() -> list[onnx.NodeProto]:
    nodes: list[onnx.NodeProto] = []
    source = "INPUT"
    for layer in (1, 2, 3):
        nodes.append(helper.make_node("Conv", [source, f"w{layer}"], [f"c{layer}"], strides=[2, 2], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
        source = f"r{layer}"
    return [
        *nodes,
        helper.make_node("GlobalAveragePool", [source], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w4"], ["OUTPUT"]),
    ]


def _write(
    repository: Path,
    name: str,
    nodes: list[onnx.NodeProto],
    weights: dict[str, tuple[int, ...]],
    gives: list[int | str],
) -> None:
    generator = np.random.default_rng(0)
    takes: list[int | str] = ["batch", *INPUT_SHAPES[name]]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("INPUT", TensorProto.FLOAT, takes)],
        [helper.make_tensor_value_info("OUTPUT", TensorProto.FLOAT, gives)],
        [numpy_helper.from_array(_normal(generator, shape), weight) for weight, shape in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    folder = repository / name / "1"
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")


def _normal(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    values: NDArray[np.float32] = (generator.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)
    return values
