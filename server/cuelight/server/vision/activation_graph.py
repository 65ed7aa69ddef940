"""A classifier's graph, rewritten once so that it tells where on the image a class is seen.

A network that ends in global average pooling and one linear layer computes

    logit[k] = mean over places of (sum over channels of weight[k, c] * features[c, place]) + bias[k]

so the sum inside, before the mean, is what each place adds to the logit: the class activation map. Three nodes compute
it for the class that a further input names:

    features [N,C,h,w] ─┬─ pooling ─ linear ─ logits                    as before
                        └─ Einsum <─ Gather(weights, class)             map [N,h,w];  Gather(bias, class) -> bias [N]

The pattern is found in the graph itself, so any model that has it can be explained, whoever exported it.
Source: Zhou, Khosla, Lapedriza, Oliva, Torralba, "Learning Deep Features for Discriminative Localization", 2016,
equation 2. This module imports onnx and is imported when the first model is explained this way.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper, numpy_helper

from cuelight.server.vision.class_activation import BIAS, CLASS, MAP, NoActivation

__all__ = ["with_class_activation"]

_LEAST_OPSET = 12
"""The first with Einsum."""
_PASSES_ON = ("Flatten", "Reshape", "Squeeze", "Identity", "Dropout")
"""Between pooling and the linear layer: they move [N,C,1,1] to [N,C] and nothing else."""


@dataclass(frozen=True, slots=True)
class _Head:
    """The tail of the network: the last feature map and the linear layer behind the pooling."""

    features: str
    weights: str
    class_axis: int
    bias: str


def with_class_activation(path: Path, scores: str) -> bytes:
    """Return the serialized model with the map of a class as output, beside its scores.

    Raises: NoActivation saying what about the graph does not fit.
    """
    model = onnx.load(path, load_external_data=False)
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    if opset < _LEAST_OPSET:
        raise NoActivation(f"opset {opset}, expected {_LEAST_OPSET} or later")
    head = _Graph(model.graph).head(scores)
    rows = "cuelight_class_weights"
    equation = "nc,nchw->nhw" if head.class_axis == 0 else "cn,nchw->nhw"
    nodes = [
        helper.make_node("Gather", [head.weights, CLASS], [rows], axis=head.class_axis),
        helper.make_node("Einsum", [rows, head.features], [MAP], equation=equation),
    ]
    outputs = [output for output in model.graph.output if output.name == scores]
    outputs.append(helper.make_tensor_value_info(MAP, TensorProto.FLOAT, ["batch", "rows", "columns"]))
    if head.bias:
        nodes.append(helper.make_node("Gather", [head.bias, CLASS], [BIAS], axis=0))
        outputs.append(helper.make_tensor_value_info(BIAS, TensorProto.FLOAT, ["batch"]))
    model.graph.node.extend(nodes)
    model.graph.input.append(helper.make_tensor_value_info(CLASS, TensorProto.INT64, ["batch"]))
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    data: bytes = model.SerializeToString()
    return data


class _Graph:
    """A graph, walked from its end to its beginning."""

    def __init__(self, graph: Any) -> None:
        self._producers = {name: node for node in graph.node for name in node.output}
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                self._constants[node.output[0]] = node.attribute[0].t

    def head(self, scores: str) -> _Head:
        """Find the linear layer and the pooling. Raises: NoActivation."""
        node = self._before(scores, ("Softmax", "Identity"))
        if node.op_type == "Gemm":
            pooled, weights, class_axis, bias = self._of_gemm(node)
        else:
            pooled, weights, class_axis, bias = self._of_product(node)
        if len(self._shape(weights)) != 2:
            raise NoActivation(f"the weights of its last layer are {self._shape(weights)}, expected a matrix")
        return _Head(self._pooled_from(pooled), weights, class_axis, bias)

    def _of_gemm(self, node: Any) -> tuple[str, str, int, str]:
        attributes = _attributes(node)
        plain = attributes.get("alpha", 1.0) == 1.0 and attributes.get("beta", 1.0) == 1.0
        if not plain or attributes.get("transA", 0):
            raise NoActivation("its last layer is a scaled product")
        bias = node.input[2] if len(node.input) > 2 else ""
        return node.input[0], node.input[1], 0 if attributes.get("transB", 0) else 1, self._vector(bias)

    def _of_product(self, node: Any) -> tuple[str, str, int, str]:
        bias = ""
        if node.op_type == "Add":
            given = [name for name in node.input if name in self._constants]
            if len(given) != 1:
                raise NoActivation("its last layer is a sum, not a linear layer")
            bias = given[0]
            node = self._producer(next(name for name in node.input if name != bias))
        if node.op_type != "MatMul":
            raise NoActivation(f"its last layer is {node.op_type}, expected a linear layer")
        return node.input[0], node.input[1], 1, self._vector(bias)

    def _pooled_from(self, name: str) -> str:
        """Return the feature map whose mean over its places `name` is."""
        node = self._before(name, _PASSES_ON)
        if node.op_type == "GlobalAveragePool":
            return str(node.input[0])
        if node.op_type == "ReduceMean":
            attributes = _attributes(node)
            axes = attributes.get("axes")
            if axes is None and len(node.input) > 1 and node.input[1] in self._constants:
                axes = numpy_helper.to_array(self._constants[node.input[1]]).tolist()
            if sorted(axis % 4 for axis in axes or ()) == [2, 3]:
                return str(node.input[0])
        raise NoActivation(f"its last layer follows {node.op_type}, expected a mean over the places of a feature map")

    def _before(self, name: str, passed: tuple[str, ...]) -> Any:
        """Return what makes `name`, walking past operations that change nothing here."""
        node = self._producer(name)
        while node.op_type in passed:
            node = self._producer(node.input[0])
        return node

    def _producer(self, name: str) -> Any:
        node = self._producers.get(name)
        if node is None:
            raise NoActivation(f'nothing in its graph makes "{name}"')
        return node

    def _vector(self, bias: str) -> str:
        if bias and len(self._shape(bias)) != 1:
            raise NoActivation(f"the bias of its last layer is {self._shape(bias)}, expected a vector")
        return bias

    def _shape(self, name: str) -> tuple[int, ...]:
        if name not in self._constants:
            raise NoActivation(f'the weights of its last layer, "{name}", are computed')
        return tuple(self._constants[name].dims)


def _attributes(node: Any) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
