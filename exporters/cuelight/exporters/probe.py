"""What a module does with its example inputs, looked at before anything is traced.

The module is run at two batch sizes and at a second size of every axis. Whatever grows is the axis: so the user names
axes and never has to count them. What cannot be served is said here, in words, rather than by the tracer.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from cuelight.exporters.errors import ExportError
from cuelight.exporters.sizes import BATCH, Sizes, describe, describe_sizes, example_of, trace_sizes
from cuelight.exporters.spec import ExportSpec, StatePair
from cuelight.exporters.user_code import line_of

__all__ = ["Layout", "outputs_of", "probe", "returned_by"]

Axes = Mapping[str, Mapping[int, str]]
"""Tensor -> axis number -> axis name."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which axes of which tensors are free: `inputs["x"] == {0: "batch", 1: "time"}`."""

    inputs: Axes
    outputs: Axes


@dataclass(frozen=True, slots=True)
class _Run:
    sizes: Sizes
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


def probe(spec: ExportSpec, module: nn.Module, seed: int) -> Layout:
    """Run the module at a few sizes and return which axes are free.

    Raises: ExportError when it does not take the example, returns other than the outputs named, answers differently
    when asked twice, or when a batch or state is not laid out as a server needs it.
    """
    usual = trace_sizes(spec)
    first = _run(spec, module, usual, seed)
    _check_repeats(spec, first, _run(spec, module, usual, seed))
    others = {BATCH: _run(spec, module, trace_sizes(spec, usual[BATCH] + 1), seed)}
    for axis in spec.axes:
        others[axis.name] = _run(spec, module, {**usual, axis.name: min(axis.sizes)}, seed)
    another_seed = _run(spec, module, usual, seed + 1)
    _check_same_shapes(spec, first, another_seed)
    layout = Layout(
        _free_axes(first.inputs, {name: run.inputs for name, run in others.items()}),
        _free_axes(first.outputs, {name: run.outputs for name, run in others.items()}),
    )
    _check_axes_found(spec, layout)
    _check_batch(spec, first, layout)
    _check_state(spec, first, layout)
    return layout


def outputs_of(spec: ExportSpec, returned: object) -> dict[str, Tensor]:
    """Return what a module returned as tensors by name: a tensor, or tuples, lists and dicts of tensors, in order.

    Raises: ExportError naming what is no tensor, or how many outputs there are and which are named.
    """
    leaves = tree_leaves(returned)
    for index, leaf in enumerate(leaves):
        if not isinstance(leaf, Tensor):
            raise ExportError(f"{spec.name}: output {index} of the module is {type(leaf).__name__}, expected a Tensor")
    if len(leaves) != len(spec.outputs):
        came = ", ".join(describe(leaf) for leaf in leaves)
        named = ", ".join(spec.outputs) or "none"
        raise ExportError(
            f"{spec.name}: the module returns {len(leaves)} tensors ({came}), {len(spec.outputs)} outputs are named "
            f"({named}); name each one, in order"
        )
    return dict(zip(spec.outputs, leaves, strict=True))


def returned_by(spec: ExportSpec, module: nn.Module, inputs: Mapping[str, Tensor]) -> object:
    """Run the module on copies of the inputs and return what it returns.

    Raises: ExportError when its signature does not take them, or it fails, with the line of the user's code.
    """
    given = ", ".join(f"{name} {describe(tensor)}" for name, tensor in inputs.items())
    _check_signature(spec, module, inputs, given)
    try:
        with torch.inference_mode():
            returned: object = module(*(tensor.clone() for tensor in inputs.values()))
            return returned
    except Exception as error:
        # The user's own code: whatever it raises, it does not take the example.
        where = line_of(error)
        raise ExportError(
            f"{spec.name}: the module failed on example inputs ({given}): {type(error).__name__}: {error}"
            + (f"\n  at {where}" if where else "")
        ) from error


def _run(spec: ExportSpec, module: nn.Module, sizes: Sizes, seed: int) -> _Run:
    inputs = example_of(spec, torch.Generator().manual_seed(seed), sizes)
    for name in inputs.keys() & set(spec.outputs):
        raise ExportError(f'{spec.name}: "{name}" is the name of an input and of an output: call the output otherwise')
    return _Run(sizes, inputs, outputs_of(spec, returned_by(spec, module, inputs)))


def _check_signature(spec: ExportSpec, module: nn.Module, inputs: Mapping[str, Tensor], given: str) -> None:
    signature = inspect.signature(module.forward)
    try:
        bound = signature.bind(*inputs.values()).arguments
    except TypeError as error:
        tuples = spec.state and len(signature.parameters) < len(inputs)
        hint = "; one that takes its state as a tuple needs a module around it that takes tensors" if tuples else ""
        raise ExportError(
            f"{spec.name}: forward{signature} does not take the {len(inputs)} example inputs ({given}): {error}{hint}"
        ) from error
    arguments = [name for name, value in bound.items() if isinstance(value, Tensor)]
    if arguments != list(inputs) and sorted(arguments) == sorted(inputs):
        raise ExportError(
            f"{spec.name}: inputs are given as {', '.join(inputs)}, but the module takes {', '.join(arguments)}: "
            "give them in the order of its arguments"
        )


def _check_repeats(spec: ExportSpec, first: _Run, again: _Run) -> None:
    for name, output in first.outputs.items():
        if output.shape != again.outputs[name].shape or not torch.equal(
            output.nan_to_num(), again.outputs[name].nan_to_num()
        ):
            raise ExportError(
                f'{spec.name}: output "{name}" differs when the module is run twice on the same inputs. Either it '
                "draws random numbers (dropout with training=True, torch.rand), or it keeps state in itself: make the "
                "state an input and an output, and declare the pair as state"
            )


def _check_same_shapes(spec: ExportSpec, first: _Run, other: _Run) -> None:
    for name, tensor in first.inputs.items():
        for axis, (one, another) in enumerate(zip(tensor.shape, other.inputs[name].shape, strict=False)):
            if one != another:
                raise ExportError(
                    f'{spec.name}: axis {axis} of input "{name}" is {one} in one example and {another} in the next, '
                    f"but no axis is marked: give it a name and sizes to try (--axis NAME={another},{one}; in a spec "
                    f'axes=(Axis("NAME", ({another}, {one})),) and an argument NAME of the example function)'
                )


def _free_axes(first: Mapping[str, Tensor], others: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[int, str]]:
    free: dict[str, dict[int, str]] = {name: {} for name in first}
    for axis_name, tensors in others.items():
        for name, tensor in first.items():
            sizes = zip(tensor.shape, tensors[name].shape, strict=False)
            free[name] |= {axis: axis_name for axis, (one, another) in enumerate(sizes) if one != another}
    return {name: dict(sorted(axes.items())) for name, axes in free.items()}


def _check_axes_found(spec: ExportSpec, layout: Layout) -> None:
    for axis in spec.axes:
        if not any(axis.name in axes.values() for axes in layout.inputs.values()):
            raise ExportError(
                f'{spec.name}: no input changes with the axis "{axis.name}": name it in the shape of an input, or '
                "leave it out"
            )


def _check_batch(spec: ExportSpec, run: _Run, layout: Layout) -> None:
    of_state = {pair.input: pair for pair in spec.state} | {pair.output: pair for pair in spec.state}
    for kind, tensors, axes in (("input", run.inputs, layout.inputs), ("output", run.outputs, layout.outputs)):
        for name, tensor in tensors.items():
            pair = of_state.get(name)
            wanted = pair.batch_axis if pair else 0
            found = [axis for axis, axis_name in axes[name].items() if axis_name == BATCH]
            if found != [wanted]:
                came = (
                    f"it grows on axis {', '.join(map(str, found))}" if found else "no axis of it grows with the batch"
                )
                raise ExportError(
                    f'{spec.name}: {kind} "{name}" is {describe(tensor)} for {describe_sizes(run.sizes)}: expected the '
                    f"batch on axis {wanted}{' (state may have it elsewhere)' if not pair else ''}, but {came}"
                )


def _check_state(spec: ExportSpec, run: _Run, layout: Layout) -> None:
    for pair in spec.state:
        _check_pair(spec, pair, run)
        moving = [name for name in layout.inputs[pair.input].values() if name != BATCH]
        if moving:
            raise ExportError(
                f'{spec.name}: state "{pair.input}" grows with {", ".join(moving)}: a server keeps state of one size; '
                "export a step that keeps a fixed window"
            )


def _check_pair(spec: ExportSpec, pair: StatePair, run: _Run) -> None:
    if pair.input not in run.inputs:
        raise ExportError(f'{spec.name}: state "{pair.input}": no such input; there are {", ".join(run.inputs)}')
    if pair.output not in run.outputs:
        raise ExportError(f'{spec.name}: state "{pair.output}": no such output; there are {", ".join(run.outputs)}')
    taken, given = run.inputs[pair.input], run.outputs[pair.output]
    if taken.shape != given.shape or taken.dtype != given.dtype:
        raise ExportError(
            f'{spec.name}: state "{pair.input}" is taken as {describe(taken)} and "{pair.output}" is given as '
            f"{describe(given)}: what a step gives must be what the next one takes"
        )
