"""The ways of making a file smaller, each from a prepared FP32 file to another file; any node can be left as it is.

- `int8-dynamic`: weights of matrix products, LSTM layers and tables of embeddings in 8 bits, activations in 8 bits with
  ranges found in each run. For recurrent nets and Transformers; GRU layers stay as they are, for ONNX Runtime has none
  in 8 bits.
- `int8-static`: convolutions too, with ranges found beforehand by calibration; weights with a scale for each channel.
  For CNNs.
- `fp16`: everything in 16 bits but inputs, outputs and the nodes left alone, which still hear and answer in 16 bits.
  Half the size; on a CPU not faster.
- `bf16`: weights kept in 16 bits and widened when the file is opened: half the size on disk, computed in FP32. Only the
  weights, because ONNX Runtime has next to no operations in BF16.

Source: onnxruntime.quantization and onnxruntime.transformers.float16 of ONNX Runtime, MIT.
"""

import contextlib
import io
import logging
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.shape_inference import quant_pre_process

from cuelight.exporters.errors import ExportError
from cuelight.exporters.spec import Arrays

__all__ = ["CONVERTED", "METHODS", "candidates", "check_opens", "convert", "prepare", "quantized_name"]

METHODS = {"int8-dynamic": "int8", "int8-static": "int8", "fp16": "fp16", "bf16": "bf16"}
"""Method -> what is added to the model's name."""
CONVERTED = {
    "int8-dynamic": "matrix products, LSTM layers and tables of embeddings; convolutions take int8-static",
    "int8-static": "convolutions and products; LSTM layers take int8-dynamic",
    "fp16": "operations",
    "bf16": "weights",
}
"""Method -> what it converts, for one whose model has none of that."""

_WEIGHT_OF = {"MatMul": 1, "LSTM": 1, "Gather": 0}
"""What `int8-dynamic` converts, and which input of it is a weight."""
_STATIC_OPERATIONS = ("Conv", "Gemm", "MatMul")
_NEVER_FP16 = ("Transpose",)
"""In 16 bits, those between recurrent layers make ONNX Runtime 1.32 die by a signal while it opens the file, in its
transformer of layouts (NchwcTransformer). They compute nothing, so nothing is lost in FP32."""
_LEAST_WEIGHTS = 16
"""Smaller tensors stay in FP32 with bf16: constants of formulas, for which 8 bits of fraction are too few."""


def quantized_name(name: str, method: str) -> str:
    """Return the converted model's name in the repository: that of the model and of its numbers."""
    return f"{name}_{METHODS[method]}"


def prepare(method: str, source: Path, target: Path) -> None:
    """Write the file with its constants folded and what can be fused fused, which quantization builds on.

    For `int8-dynamic` a Gemm becomes a MatMul and an Add already here: it would later, under a name nobody can exclude.
    """
    with _silent():
        quant_pre_process(str(source), str(target), skip_symbolic_shape=True)
    model = onnx.load(target)
    if method == "int8-dynamic":
        ONNXModel(model).replace_gemm_with_matmul()
    taken = {node.name for node in model.graph.node}
    for index, node in enumerate(model.graph.node):
        if not node.name:
            node.name = next(name for name in (f"{node.op_type}_{index}", f"unnamed_{index}") if name not in taken)
    onnx.save(model, target)


def check_opens(model: Path) -> None:
    """Open a file in a process of its own. Raises: ExportError when that process is killed by it.

    One that is refused in the ordinary way is left to whoever opens it next.
    """
    code = "import sys, onnxruntime; onnxruntime.InferenceSession(sys.argv[1])"
    ended = subprocess.run([sys.executable, "-c", code, str(model)], capture_output=True, check=False)
    if ended.returncode < 0:
        died = signal.Signals(-ended.returncode).name
        raise ExportError(f"ONNX Runtime {onnxruntime.__version__} dies of {died} when it opens the converted file")


def candidates(method: str, prepared: Path) -> list[str]:
    """Return the names of the nodes that the method converts, and that can be excluded."""
    graph = onnx.load(prepared).graph
    if method in ("fp16", "bf16"):
        return [node.name for node in graph.node]
    if method == "int8-static":
        return [node.name for node in graph.node if node.op_type in _STATIC_OPERATIONS]
    weights = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    return [
        node.name
        for node in graph.node
        if node.op_type in _WEIGHT_OF and node.input[_WEIGHT_OF[node.op_type]] in weights
    ]


def convert(
    method: str, prepared: Path, target: Path, calibration: Sequence[Arrays], excluded: Sequence[str] = ()
) -> None:
    """Write the converted file, with the nodes named in `excluded` as they were."""
    with _silent():
        if method == "int8-dynamic":
            _dynamic(prepared, target, excluded)
        elif method == "int8-static":
            _static(prepared, target, calibration, excluded)
        else:
            model = _fp16(prepared, excluded) if method == "fp16" else _bf16(prepared, excluded)
            onnx.save(model, target)


def _dynamic(prepared: Path, target: Path, excluded: Sequence[str]) -> None:
    quantize_dynamic(
        prepared,
        target,
        op_types_to_quantize=list(_WEIGHT_OF),
        per_channel=True,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=list(excluded),
    )


def _static(prepared: Path, target: Path, calibration: Sequence[Arrays], excluded: Sequence[str]) -> None:
    quantize_static(
        prepared,
        target,
        _Reader(calibration),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=list(excluded),
    )


def _fp16(prepared: Path, excluded: Sequence[str]) -> onnx.ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16  # noqa: PLC0415 (imports a good deal)

    source = onnx.load(prepared)
    left = {node.name for node in source.graph.node if node.op_type in _NEVER_FP16} | set(excluded)
    model: onnx.ModelProto = convert_float_to_float16(source, keep_io_types=True, node_block_list=list(left))
    return model


def _bf16(prepared: Path, excluded: Sequence[str]) -> onnx.ModelProto:
    """Keep weights as BF16, each widened by a Cast, which ONNX Runtime computes once, when it opens the file."""
    model = onnx.load(prepared)
    alone = {name for node in model.graph.node if node.name in set(excluded) for name in node.input}
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or tensor.name in alone or _size(tensor) < _LEAST_WEIGHTS:
            continue
        name, weights = tensor.name, numpy_helper.to_array(tensor)
        shape, kept = list(tensor.dims), f"{tensor.name}.bf16"
        tensor.Clear()
        tensor.CopyFrom(helper.make_tensor(kept, onnx.TensorProto.BFLOAT16, shape, _rounded(weights), raw=True))
        casts.append(helper.make_node("Cast", [kept], [name], f"{name}.widened", to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _size(tensor: onnx.TensorProto) -> int:
    return int(np.prod(tensor.dims))


def _rounded(weights: np.ndarray) -> bytes:
    """Return the upper halves of finite FP32 numbers, rounded to the nearest, halves to even."""
    bits = np.ascontiguousarray(weights).view(np.uint32)
    nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return nearest.astype("<u2").tobytes()


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands calibration inputs to ONNX Runtime, which asks for one after the other."""

    def __init__(self, inputs: Sequence[Arrays]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> Arrays | None:
        return next(self._inputs, None)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep back what ONNX Runtime logs, warns and prints of every node."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
