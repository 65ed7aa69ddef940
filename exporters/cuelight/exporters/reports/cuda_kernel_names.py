"""Makes `cuda_kernels.json`: which operators the CUDA provider of ONNX Runtime has kernels for.

A build without a GPU does not know: `get_all_opkernel_def` lists the providers of this build alone, and the CUDA
provider's library does not load without CUDA. But a kernel is a C++ class, and the names of the classes are in the
library of every onnxruntime-gpu wheel, with the types they are instantiated for:

    N11onnxruntime4cuda4LSTMIfEE  ->  LSTM, FP32

What this cannot say: the range of opsets of each kernel, and the types of kernels that take any when they run.

    pip download --no-deps onnxruntime-gpu==1.31.1
    python -m cuelight.exporters.reports.cuda_kernel_names onnxruntime_gpu-1.31.1-*.whl
"""

import json
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx

__all__ = ["kernels_in", "main"]

_LIBRARY = "onnxruntime/capi/libonnxruntime_providers_cuda.so"
_CLASS = re.compile(rb"N11onnxruntime(7contrib)?4cuda(\d{1,2})([A-Za-z][\x21-\x7e]*)")
_TYPES = {
    "NS_9MLFloat16E": "FP16",
    "NS_8BFloat16E": "BF16",
    "f": "FP32",
    "d": "FP64",
    "b": "BOOL",
    "a": "INT8",
    "s": "INT16",
    "i": "INT32",
    "l": "INT64",
    "h": "UINT8",
    "t": "UINT16",
    "j": "UINT32",
    "m": "UINT64",
}
"""Itanium C++ ABI, 5.1.5: how types are spelt in mangled names."""
_TYPE = re.compile("|".join(_TYPES))
_CLASS_OF_OPERATOR = {
    "AveragePool": "Pool",
    "BatchNormalization": "BatchNorm",
    "GatherND": "GatherND",
    "GlobalAveragePool": "Pool",
    "GlobalMaxPool": "Pool",
    "Identity": "IdentityOp",
    "InstanceNormalization": "InstanceNorm",
    "LayerNormalization": "LayerNorm",
    "LogSoftmax": "Softmax",
    "LpNormalization": "LpNorm",
    "Max": "VariadicElementwiseOp",
    "MaxPool": "Pool",
    "Min": "VariadicElementwiseOp",
    "OneHot": "OneHotOp",
    "RMSNormalization": "RMSNorm",
    "ReverseSequence": "ReverseSequenceOp",
    "Scatter": "ScatterElements",
    "ScatterND": "ScatterNDWithAtomicReduction",
    "Split": "SplitKernel",
    "Sum": "VariadicElementwiseOp",
}
"""Operators whose kernel's class has another name."""
_FIRST_TEMPLATE_IS_NO_TENSOR = frozenset({"GatherND", "Scan", "Cast", "TopK", "ReduceSum", "Loop", "If"})
"""Kernels whose template argument is not the type of their first input."""
_IN_CONTRIB = {"GridSample": "GridSample"}
"""Operators of ONNX whose kernel's class lies in the namespace of Microsoft's own."""


def kernels_in(wheel: Path) -> dict[str, list[str]]:
    """Return the types of each operator's kernel, empty where it takes any, by the operator's name in ONNX."""
    with zipfile.ZipFile(wheel) as archive:
        classes = _classes(archive.read(_LIBRARY))
    known = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    found: dict[str, list[str]] = {}
    for operator in sorted(known):
        name = _CLASS_OF_OPERATOR.get(operator, operator)
        types = classes.get((operator in _IN_CONTRIB, name))
        if types is not None:
            found[operator] = [] if operator in _FIRST_TEMPLATE_IS_NO_TENSOR else sorted(types)
    return found


def main(arguments: Iterable[str]) -> None:
    """Write the table of one wheel beside this file."""
    (wheel,) = map(Path, arguments)
    version = wheel.name.split("-")[1]
    target = Path(__file__).with_name("cuda_kernels.json")
    lines = [f"    {json.dumps(name)}: {json.dumps(types)}" for name, types in kernels_in(wheel).items()]
    body = ",\n".join(lines)
    target.write_text(f'{{\n  "onnxruntime_gpu": "{version}",\n  "kernels": {{\n{body}\n  }}\n}}\n', encoding="utf-8")


def _classes(library: bytes) -> dict[tuple[bool, str], set[str]]:
    """Return the types of each class, by whether it is Microsoft's own and its name."""
    found: dict[tuple[bool, str], set[str]] = {}
    for contrib, length, rest in _CLASS.findall(library):
        text = rest.decode("ascii")
        name, arguments = text[: int(length)], text[int(length) :]
        types = found.setdefault((bool(contrib), name), set())
        if arguments.startswith("I"):
            types.update(_leading_types(arguments[1:]))
    return found


def _leading_types(arguments: str) -> Iterator[str]:
    """Yield the types a template's arguments begin with; what follows the first that is none may be anything."""
    place = 0
    while match := _TYPE.match(arguments, place):
        place = match.end()
        yield _TYPES[match[0]]


if __name__ == "__main__":
    main(sys.argv[1:])
