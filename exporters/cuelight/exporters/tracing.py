"""From a module to PyTorch's own graph of it (`torch.export`), with errors that name the user's line.

named axes --ok--> graph
    |  the model's code allows some sizes only, such as multiples of four
    v
the axes concerned are left to PyTorch --an axis became a constant--> ExportError
    |  still free
    v
graph, with the assumptions; parity over the sizes of the spec says whether they hold
"""

import contextlib
import inspect
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from cuelight.exporters.errors import ExportError
from cuelight.exporters.probe import Layout
from cuelight.exporters.quiet import quiet
from cuelight.exporters.recurrent import recurrent_layers_whole
from cuelight.exporters.sizes import BATCH, describe, example_of, trace_sizes
from cuelight.exporters.spec import ExportSpec
from cuelight.exporters.trace_log import Fixed, TraceLog, listening
from cuelight.exporters.user_code import line_of

__all__ = ["Trace", "trace"]

_MAX_SIZE = 1 << 20
_VIOLATED = re.compile(r"Constraints violated \(([^)]*)\)")
_DATA_DEPENDENT = "data-dependent"
_TAKES_A_VALUE = re.compile(r"\.item\(|\.tolist\(|\.numpy\(|\bint\(|\bfloat\(|\bbool\(")


@dataclass(frozen=True, slots=True)
class Trace:
    """The graph, and the lines of the user's model that assume something of a size."""

    program: torch.export.ExportedProgram
    assumptions: tuple[str, ...]


def trace(spec: ExportSpec, module: nn.Module, layout: Layout, seed: int) -> Trace:
    """Trace the module with every axis of the layout free.

    Raises: ExportError naming the line that cannot be traced, or that works for one size of an axis only.
    """
    inputs = example_of(spec, torch.Generator().manual_seed(seed), trace_sizes(spec))
    ranges = {BATCH: (1, _MAX_SIZE), **{axis.name: (min(axis.sizes), axis.max_size or _MAX_SIZE) for axis in spec.axes}}
    named = {name: torch.export.Dim(name, min=least, max=most) for name, (least, most) in ranges.items()}
    with quiet(), recurrent_layers_whole(), listening() as heard:
        try:
            program = _export(module, inputs, layout, named)
        except Exception as error:
            left_over = _left_to_torch(error, heard)
            if not left_over:
                _say(spec, module, inputs, layout, heard, error)
            heard.fixed.clear()
            axes = {**named, **dict.fromkeys(left_over, torch.export.Dim.AUTO)}
            try:
                program = _export(module, inputs, layout, axes)
            except Exception as second:
                _say(spec, module, inputs, layout, heard, second)
            _check_free(spec, program, inputs, layout, heard)
    return Trace(program, tuple(dict.fromkeys(heard.branches)))


def _export(
    module: nn.Module, inputs: Mapping[str, Tensor], layout: Layout, dimensions: Mapping[str, Any]
) -> torch.export.ExportedProgram:
    shapes = tuple({axis: dimensions[name] for axis, name in layout.inputs[key].items()} for key in inputs)
    arguments = tuple(inputs.values())
    # Where it fails, it prints the graph so far: of a large model thousands of lines above what went wrong.
    with contextlib.redirect_stderr(io.StringIO()):
        return torch.export.export(module, arguments, dynamic_shapes=_packed(module, arguments, shapes), strict=False)


def _packed(module: nn.Module, arguments: tuple[Tensor, ...], shapes: tuple[Any, ...]) -> Any:
    """Return the shapes as the signature has its arguments: those of `*args` are one tuple."""
    parameters = list(inspect.signature(module.forward).parameters.values())
    for index, parameter in enumerate(parameters):
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL and index < len(arguments):
            return (*shapes[:index], shapes[index:])
    return shapes


def _left_to_torch(error: Exception, heard: TraceLog) -> list[str]:
    """Return the axes whose sizes are only limited; empty when one was fixed or something else went wrong."""
    violated = _VIOLATED.search(str(error))
    if violated is None or "specialized" in str(error):
        return []
    return [name.strip() for name in violated[1].split(",")]


def _check_free(
    spec: ExportSpec,
    program: torch.export.ExportedProgram,
    inputs: Mapping[str, Tensor],
    layout: Layout,
    heard: TraceLog,
) -> None:
    """Raise ExportError when an axis left to PyTorch has become a constant."""
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    for name, node in zip(inputs, program.graph_signature.user_inputs, strict=False):
        value = nodes[str(node)].meta["val"]
        for axis, axis_name in layout.inputs[name].items():
            if isinstance(value.shape[axis], int):
                fixed = next((f for f in heard.fixed if f.axis == axis), None)
                raise ExportError(_fixed_text(spec, name, axis, axis_name, value.shape[axis], fixed, inputs))


def _say(
    spec: ExportSpec,
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    layout: Layout,
    heard: TraceLog,
    error: Exception,
) -> NoReturn:
    """Raise what the tracer's error means for the user's model."""
    arguments = list(inspect.signature(module.forward).parameters)
    if _VIOLATED.search(str(error)) and heard.fixed:
        fixed = heard.fixed[-1]
        named = dict(zip(arguments, inputs, strict=False))
        name = named.get(fixed.argument, fixed.argument)
        axis_name = layout.inputs.get(name, {}).get(fixed.axis, "?")
        raise ExportError(_fixed_text(spec, name, fixed.axis, axis_name, fixed.size, fixed, inputs)) from error
    where = line_of(error)
    reason = (
        f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no reason given'}"
    )
    if where is None:
        raise ExportError(f"{spec.name}: the model cannot be traced: {reason}") from error
    raise ExportError(
        f"{spec.name}: the model cannot be traced at {where}\n  {_advice(where, error)}\n  ({reason})"
    ) from error


def _advice(where: str, error: Exception) -> str:
    code = where.split(": ", 1)[-1]
    if code.startswith(("if ", "elif ", "while ", "assert ")) or " if " in code:
        return (
            "which way it goes depends on the values of a tensor, and a graph has one way: compute both and choose "
            "with torch.where, use torch.cond, or take the decision out of the model"
        )
    if _TAKES_A_VALUE.search(code):
        return "it takes a value out of a tensor, and while tracing there is none: keep it a tensor"
    if _DATA_DEPENDENT in str(error):
        return "a size depends on the values of a tensor: give it a fixed bound, or do this outside the model"
    return "what it does has no form in a graph: use tensor operations alone, or do this outside the model"


def _fixed_text(
    spec: ExportSpec,
    name: str,
    axis: int,
    axis_name: str,
    size: int,
    fixed: Fixed | None,
    inputs: Mapping[str, Tensor],
) -> str:
    where = f" at {fixed.line}" if fixed and fixed.line else ""
    if fixed and fixed.unrolled:
        return (
            f'{spec.name}: axis {axis} ("{axis_name}") of input "{name}" is marked free, but the recurrent layer'
            f"{where} is unrolled over it, here {size} times\n  use nn.LSTM or nn.GRU, which are not, or export a "
            f"single step (nn.RNNCell) with its state; or mark the axis as fixed: write {size} in place of {axis_name}"
        )
    text = (
        f'{spec.name}: axis {axis} ("{axis_name}") of input "{name}" is marked free, but the model works for the size '
        f"{size} only{where}\n  let the line take the size from the tensor (x.shape[{axis}], -1) instead of a number; "
        "a Python loop over the axis is unrolled and fixes it too"
    )
    if axis_name == BATCH:
        return text
    shape = describe(inputs[name]) if name in inputs else "its shape"
    return f"{text}. Or mark the axis as fixed: write {size} in place of {axis_name} ({shape})"
