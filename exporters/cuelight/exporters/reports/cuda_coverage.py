"""Which nodes would run on the CPU when the model is served on CUDA: each costs a copy there and back.

Without a GPU this is worked out, not tried:

1. ONNX Runtime simplifies the graph as it does before it divides it among providers (basic level), on the CPU.
2. A node is taken to run on CUDA when its operator has a kernel there for the type of the input that kernels are chosen
   by: the first, of Where the second (`cuda_kernels.json`, see `cuda_kernel_names`); with a CUDA build and a GPU the
   list is that of the build itself. Operators that are not ONNX's own have none in either list.
3. Shape arithmetic (Shape, Size, and what is computed from them alone) stays on the CPU by ONNX Runtime's own choice.
4. What the CUDA provider leaves to the CPU though there is a kernel: recurrent layers with other than the usual
   activations, with clipping, coupled gates, peepholes or, of GRU, the reset gate before the product.

What this does not know: opset ranges of kernels, types of further inputs, transposed convolutions padded unevenly, and
what cuDNN refuses. Source of 4: ONNX Runtime, cuda_execution_provider.cc, `GetCapability`.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import onnx
import onnxruntime as ort

from cuelight.exporters.reports.graph_summary import DATATYPES

__all__ = ["CudaCoverage", "FallbackNode", "cuda_coverage"]

_PROVIDER = "CUDAExecutionProvider"
_SHAPE_OPERATORS = frozenset({"Shape", "Size"})
_RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
_NEVER = ("clip", "activation_alpha", "activation_beta")
"""Attributes of recurrent layers that have no kernel on CUDA, whatever their value."""
_PEEPHOLES = 7
"""Which input of an LSTM they are."""
_DECIDING_INPUT = {"Where": 1}
"""The input whose type a kernel is chosen by, where it is not the first."""
_ONNX_DOMAINS = ("", "ai.onnx")
_USUAL_ACTIVATIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
_ORT_TYPES = {"float": "FP32", "double": "FP64", "float16": "FP16", "bfloat16": "BF16", "string": "BYTES"}

Kernels = Mapping[str, frozenset[str]]
"""Types by operator; an empty set is any type."""


@dataclass(frozen=True, slots=True)
class FallbackNode:
    """A node that would run on the CPU, and why."""

    node: str
    operator: str
    why: str


@dataclass(frozen=True, slots=True)
class CudaCoverage:
    """How the nodes would be divided. `shape_nodes` are on the CPU by choice, `fallback` for want of a kernel."""

    nodes: int
    cuda_nodes: int
    shape_nodes: int
    fallback: tuple[FallbackNode, ...]
    kernels_of: str


def cuda_coverage(path: Path) -> CudaCoverage:
    """Work out for a model file where its nodes would run; nodes of subgraphs count as their outer node."""
    kernels, kernels_of = _kernels()
    model = onnx.shape_inference.infer_shapes(_simplified(path))
    types = _types(model.graph)
    held = {tensor.name for tensor in model.graph.initializer}
    of_shapes: set[str] = set()
    fallback: list[FallbackNode] = []
    shape_nodes = 0
    for node in model.graph.node:
        computed = [name for name in node.input if name and name not in held]
        if node.op_type in _SHAPE_OPERATORS or (computed and of_shapes.issuperset(computed)):
            of_shapes.update(node.output)
            shape_nodes += 1
        elif why := _why_not(node, kernels, types):
            fallback.append(FallbackNode(node.name or node.output[0], node.op_type, why))
    nodes = len(model.graph.node)
    return CudaCoverage(nodes, nodes - shape_nodes - len(fallback), shape_nodes, tuple(fallback), kernels_of)


def _why_not(node: onnx.NodeProto, kernels: Kernels, types: Mapping[str, str]) -> str:
    """Return why a node has no kernel on CUDA; nothing when it has one."""
    if node.domain not in _ONNX_DOMAINS:
        return f"no kernel known: an operator of {node.domain}"
    if node.op_type == "Constant":
        return ""
    if node.op_type not in kernels:
        return "no kernel"
    allowed = kernels[node.op_type]
    deciding = node.input[_DECIDING_INPUT.get(node.op_type, 0) :][:1]
    datatype = next((types[name] for name in deciding if name in types), "")
    if allowed and datatype and datatype not in allowed:
        return f"no kernel for {datatype}; for {', '.join(sorted(allowed))} there is"
    return _why_not_recurrent(node) if node.op_type in _RECURRENT else ""


def _why_not_recurrent(node: onnx.NodeProto) -> str:
    attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    activations = [name.decode() for name in attributes.get("activations", [])]
    usual = _USUAL_ACTIVATIONS[node.op_type]
    if activations and activations not in (usual, usual * 2):
        return f"activations {', '.join(activations)}"
    if never := next((name for name in _NEVER if name in attributes), ""):
        return f"attribute {never}"
    if attributes.get("input_forget"):
        return "attribute input_forget"
    if node.op_type == "GRU" and not attributes.get("linear_before_reset"):
        return "attribute linear_before_reset is 0"
    return "peepholes" if node.op_type == "LSTM" and any(node.input[_PEEPHOLES:]) else ""


def _simplified(path: Path) -> onnx.ModelProto:
    """Return the graph as ONNX Runtime has it when it divides it among providers."""
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder) / "simplified.onnx")
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


def _types(graph: onnx.GraphProto) -> dict[str, str]:
    typed = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.output, *graph.value_info)}
    typed |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    names = {name: onnx.TensorProto.DataType.Name(number) for name, number in typed.items() if number}
    return {name: DATATYPES.get(text, text) for name, text in names.items()}


def _kernels() -> tuple[Kernels, str]:
    """Return the kernels of this build where it has CUDA, else those of the table, and which these are."""
    own = _kernels_of_this_build()
    if own:
        return own, f"this build, onnxruntime-gpu {ort.__version__}"
    text = resources.files("cuelight.exporters.reports").joinpath("cuda_kernels.json").read_text(encoding="utf-8")
    table = json.loads(text)
    kernels = {name: frozenset(types) for name, types in table["kernels"].items()}
    return kernels, f"onnxruntime-gpu {table['onnxruntime_gpu']}, read from the names in its library"


def _kernels_of_this_build() -> dict[str, frozenset[str]]:
    try:
        from onnxruntime.capi.onnxruntime_pybind11_state import get_all_opkernel_def  # noqa: PLC0415

        listed = [kernel for kernel in get_all_opkernel_def() if kernel.provider == _PROVIDER and not kernel.domain]
    except Exception:
        # Neither documented nor in every build, and without a GPU a CUDA build fails here; then the table has to do.
        return {}
    found: dict[str, frozenset[str]] = {}
    for kernel in listed:
        texts = [text for types in kernel.type_constraints.values() for text in types]
        plain = {text.removeprefix("tensor(").removesuffix(")") for text in texts}
        named = frozenset(_ORT_TYPES.get(text, text.upper()) for text in plain)
        found[kernel.op_name] = found.get(kernel.op_name, frozenset()) | named
    return found
