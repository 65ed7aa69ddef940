"""ONNX graphs written an operator at a time, with random weights from a seed."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

INT64 = TensorProto.INT64


class GraphWriter:
    """Collects nodes and weights; every call returns the name of what it added."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, shape: list[Any], elem_type: int = TensorProto.FLOAT) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, elem_type, shape))
        return name

    def output(self, source: str, name: str, shape: list[Any], elem_type: int = TensorProto.FLOAT) -> None:
        self._nodes.append(helper.make_node("Identity", [source], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, elem_type, shape))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        return self.ops(kind, *inputs, outputs=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        names = [f"t{len(self._nodes)}_{index}" for index in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names

    def constant(self, values: Any, dtype: Any = np.int64) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def weights(self, *shape: int, scale: float = 1.0) -> str:
        return self.constant(self._generator.standard_normal(shape) * scale, np.float32)

    def linear(self, x: str, inputs: int, outputs: int, gain: float = 1.0) -> str:
        return self.op("MatMul", x, self.weights(inputs, outputs, scale=gain / np.sqrt(inputs)))

    def last(self, x: str, axis: int, count: int) -> str:
        """Return the last `count` along an axis."""
        return self.part(x, axis, -count, 2**31 - 1)

    def part(self, x: str, axis: int, start: int, end: int) -> str:
        return self.op("Slice", x, self.constant([start]), self.constant([end]), self.constant([axis]))

    def reshape(self, x: str, *shape: int) -> str:
        return self.op("Reshape", x, self.constant(shape))

    def turn(self, x: str, *order: int) -> str:
        return self.op("Transpose", x, perm=order)

    def normal_audio(self, x: str) -> str:
        """Return log energies, which lie around -8, as numbers around 0."""
        shifted = self.op("Add", x, self.constant([8.0], np.float32))
        return self.op("Mul", shifted, self.constant([0.3], np.float32))

    def save(self, path: Path, metadata: dict[str, Any]) -> None:
        graph = helper.make_graph(self._nodes, "g", self._inputs, self._outputs, self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        helper.set_model_props(model, {key: text(value) for key, value in metadata.items()})
        onnx.checker.check_model(model)
        onnx.save(model, path)


def text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def floats(values: Any) -> NDArray[np.float32]:
    return np.array(values, np.float32)
