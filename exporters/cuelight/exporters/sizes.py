"""Which sizes a model is tried on, and the inputs of a size."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor

from cuelight.exporters.errors import ExportError
from cuelight.exporters.spec import Axis, ExportSpec

__all__ = [
    "BATCH",
    "Sizes",
    "describe",
    "describe_sizes",
    "example_of",
    "golden_axes",
    "golden_sizes",
    "parity_sizes",
    "trace_sizes",
]

BATCH = "batch"
"""The name of the batch axis, in specs, on the command line and in the file."""

_TRACE_BATCH = 2
"""1 would be burnt into the graph as a constant."""
_GOLDEN_AXIS_SIZES = 2

Sizes = Mapping[str, int]
"""Size by axis name, the batch included."""

_DATATYPES = {
    torch.bool: "BOOL",
    torch.uint8: "UINT8",
    torch.int8: "INT8",
    torch.int16: "INT16",
    torch.int32: "INT32",
    torch.int64: "INT64",
    torch.float16: "FP16",
    torch.bfloat16: "BF16",
    torch.float32: "FP32",
    torch.float64: "FP64",
}


def trace_sizes(spec: ExportSpec, batch: int = _TRACE_BATCH) -> dict[str, int]:
    """Return the sizes of the traced example."""
    return {BATCH: batch, **{axis.name: axis.trace_size for axis in spec.axes}}


def parity_sizes(spec: ExportSpec) -> list[dict[str, int]]:
    """Return every batch size with every size of every axis."""
    return _combined(spec, spec.parity_batches, [axis.sizes for axis in spec.axes])


def golden_sizes(spec: ExportSpec) -> list[dict[str, int]]:
    """Return every golden batch size with every size of every golden axis."""
    return _combined(spec, spec.golden_batches, [axis.sizes for axis in golden_axes(spec)])


def golden_axes(spec: ExportSpec) -> tuple[Axis, ...]:
    """Return the axes with their smallest two sizes, those of the golden vectors."""
    return tuple(replace(axis, sizes=tuple(sorted(axis.sizes)[:_GOLDEN_AXIS_SIZES])) for axis in spec.axes)


def example_of(spec: ExportSpec, generator: torch.Generator, sizes: Sizes) -> dict[str, Tensor]:
    """Return inputs of these sizes.

    Raises: ExportError when the example function fails, or returns anything but tensors by name.
    """
    axes = {name: size for name, size in sizes.items() if name != BATCH}
    try:
        inputs = spec.example(generator, sizes[BATCH], **axes)
    except Exception as error:
        # The user's own code: whatever it raises, it has given no example.
        raise ExportError(
            f"{spec.name}: the example function failed for {describe_sizes(sizes)}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(inputs, dict) or not inputs or not all(isinstance(t, Tensor) for t in inputs.values()):
        raise ExportError(f"{spec.name}: the example function must return tensors by name, got {_described(inputs)}")
    return inputs


def describe(tensor: Tensor) -> str:
    """Return a tensor's datatype and shape: `FP32 [2,7,80]`."""
    return f"{_DATATYPES.get(tensor.dtype, tensor.dtype)} [{','.join(map(str, tensor.shape))}]"


def describe_sizes(sizes: Sizes) -> str:
    """Return `batch 2, time 7`."""
    return ", ".join(f"{name} {size}" for name, size in sizes.items())


def _combined(spec: ExportSpec, batches: tuple[int, ...], sizes: list[tuple[int, ...]]) -> list[dict[str, int]]:
    names = (BATCH, *(axis.name for axis in spec.axes))
    chosen: Iterator[tuple[int, ...]] = product(batches, *sizes)
    return [dict(zip(names, combination, strict=True)) for combination in chosen]


def _described(inputs: object) -> str:
    if not isinstance(inputs, dict):
        return type(inputs).__name__
    return "{" + ", ".join(f"{name!r}: {type(value).__name__}" for name, value in inputs.items()) + "}"
