"""What is in an ONNX file: tensors, operators, values held, opset."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

__all__ = ["DATATYPES", "GraphSummary", "TensorSummary", "summarize_graph"]

DATATYPES = {"FLOAT": "FP32", "DOUBLE": "FP64", "FLOAT16": "FP16", "BFLOAT16": "BF16", "STRING": "BYTES"}


@dataclass(frozen=True, slots=True)
class TensorSummary:
    """An input or output; an axis of free size stands as its name."""

    name: str
    datatype: str
    shape: tuple[int | str, ...]

    def describe(self) -> str:
        """Return `x FP32 [batch,80]`."""
        return f"{self.name} {self.datatype} [{','.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True)
class GraphSummary:
    """`operators` counts nodes by operator, the most frequent first; `values` are the numbers the file holds."""

    inputs: tuple[TensorSummary, ...]
    outputs: tuple[TensorSummary, ...]
    opset: int
    nodes: int
    operators: dict[str, int]
    values: int
    values_bytes: int


def summarize_graph(path: Path) -> GraphSummary:
    """Return the summary of a file, nodes of subgraphs included."""
    model = onnx.load(path)
    operators = Counter(node.op_type for node in _nodes(model.graph))
    sizes = [(int(np.prod(tensor.dims, dtype=np.int64)), tensor) for tensor in model.graph.initializer]
    held_bytes = sum(count * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize for count, tensor in sizes)
    return GraphSummary(
        inputs=tuple(map(_tensor, model.graph.input)),
        outputs=tuple(map(_tensor, model.graph.output)),
        opset=next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0),
        nodes=sum(operators.values()),
        operators=dict(operators.most_common()),
        values=sum(count for count, _ in sizes),
        values_bytes=int(held_bytes),
    )


def _nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    found = list(graph.node)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found += _nodes(attribute.g)
    return found


def _tensor(value: onnx.ValueInfoProto) -> TensorSummary:
    tensor = value.type.tensor_type
    shape = tuple(dimension.dim_param or int(dimension.dim_value) for dimension in tensor.shape.dim)
    name = onnx.TensorProto.DataType.Name(tensor.elem_type)
    return TensorSummary(value.name, DATATYPES.get(name, name), shape)
