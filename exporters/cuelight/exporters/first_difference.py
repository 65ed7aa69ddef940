"""Where the ONNX file and PyTorch part: the first tensor of the graph that differs.

The exporter keeps the names of PyTorch's graph, so that both can be run on the same inputs and compared tensor by
tensor in the graph's order:

    module  <- outputs of every submodule, by hooks ->  traced graph  <- every tensor, by name ->  ONNX file

If the traced graph and the file differ, the conversion is at fault, and the tensor is named with its operator, module
and line. If they agree, then tracing is at fault: a Python value was burnt in, and the first submodule whose output is
not in the traced graph is named. A tensor differs when |got - want| > atol * max(1, max |want|) + rtol * |want|.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind
from torch.utils._pytree import tree_leaves

from cuelight.exporters.parity import Case, compare, run_onnx, run_torch
from cuelight.exporters.sizes import BATCH, describe_sizes
from cuelight.exporters.spec import Arrays, ExportSpec
from cuelight.exporters.threads import open_on_one_thread
from cuelight.exporters.user_code import line_in

__all__ = ["first_difference"]


def first_difference(
    spec: ExportSpec, module: nn.Module, program: torch.export.ExportedProgram, model: Path, case: Case
) -> str:
    """Return where the two part for the inputs of a case, in words.

    `program` is the graph that the file was made from, whose names it has; `case.inputs` are the module's own.
    """
    traced = _traced_values(program, list(case.inputs.values()))
    graph = onnx.load(model).graph
    file = _onnx_values(model, case.inputs, set(traced))
    nodes = {node.name: node for node in program.graph.nodes}
    renamed = dict(zip(spec.outputs, (str(name) for name in program.graph_signature.user_outputs), strict=False))
    at = f"(with {describe_sizes(case.sizes)}, step {case.step})"
    for operator in graph.node:
        for value in operator.output:
            name = renamed.get(value, value)
            if value in file and name in traced and (off := _off(spec, file[value], traced[name])):
                place = _place(nodes[name])
                return f'the first tensor that differs is "{value}" {at}: {operator.op_type}{place}: {off}'
    baked = _baked(spec, module, case, program, traced)
    if baked:
        return f"{baked} {at}"
    return f"no tensor differs when both sides get the same inputs {at}{_at_last(spec, module, model, case)}"


def _at_last(spec: ExportSpec, module: nn.Module, model: Path, case: Case) -> str:
    """Return what is left when no tensor differs: an output that is too far off, or steps."""
    want, got = run_torch(spec, module, case.inputs), run_onnx(spec, open_on_one_thread(model), case.inputs, case.sizes)
    for name in spec.outputs:
        if got[name].dtype != want[name].dtype:
            return f', but output "{name}" is {got[name].dtype} in the file and {want[name].dtype} in PyTorch'
        row = compare(spec, case.sizes[BATCH], case.step, name, got[name], want[name])
        if not row.share_of_tolerance <= 1:
            return (
                f', but output "{name}" is off by {row.max_abs_error:.3g} at {list(row.where)}, '
                f"{row.share_of_tolerance:.3g} times what is allowed: rounding, where atol and rtol leave no room for "
                "it, or what ONNX Runtime computes otherwise when it fuses operators"
            )
    return ": the difference adds up over steps"


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps every tensor by the name of its node."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.values: Arrays = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.values[n.name] = value.detach().numpy()
        return value


def _traced_values(program: torch.export.ExportedProgram, inputs: list[NDArray[Any]]) -> Arrays:
    given = iter(torch.from_numpy(array.copy()) for array in inputs)
    arguments: list[Any] = []
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            arguments.append(next(given))
        elif spec.target in program.state_dict:
            arguments.append(program.state_dict[spec.target].detach())
        else:
            arguments.append(program.constants[str(spec.target)])
    recorder = _Recorder(program.graph_module)
    with torch.no_grad():
        recorder.run(*arguments)
    return recorder.values


def _onnx_values(model: Path, inputs: Mapping[str, NDArray[Any]], wanted: set[str]) -> Arrays:
    """Return the file's tensors, its outputs and those whose names are wanted."""
    proto = onnx.load(model)
    there = {output.name for output in proto.graph.output}
    inner = [name for node in proto.graph.node for name in node.output if name in wanted and name not in there]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    session = open_on_one_thread(proto.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    taken = {node.name for node in session.get_inputs()}
    outputs = session.run(names, {name: array for name, array in inputs.items() if name in taken})
    return dict(zip(names, outputs, strict=True))


def _off(spec: ExportSpec, got: NDArray[Any], want: NDArray[Any]) -> str:
    """Return by how much a tensor is off, or nothing when it agrees."""
    if got.shape != want.shape:
        return f"shape {list(got.shape)}, expected {list(want.shape)}"
    if not want.size:
        return ""
    given, wanted = got.astype(np.float64), want.astype(np.float64)
    finite = np.abs(wanted[np.isfinite(wanted)])
    with np.errstate(invalid="ignore"):
        allowed = spec.atol * max(1.0, finite.max(initial=0.0)) + spec.rtol * np.abs(wanted)
        error = np.where((given == wanted) | (np.isnan(given) & np.isnan(wanted)), 0.0, np.abs(given - wanted))
    error = np.where(np.isnan(error), np.inf, error)
    if not (error > np.where(np.isfinite(allowed), allowed, spec.atol)).any():
        return ""
    index = np.unravel_index(int(error.argmax()), error.shape)
    place = [int(number) for number in index]
    return f"off by {error[index]:.3g} at {place} (got {given[index]:.7g}, expected {wanted[index]:.7g})"


def _place(node: fx.Node) -> str:
    """Return the module's path and the line that a node of the traced graph came from."""
    stack = node.meta.get("nn_module_stack") or {}
    path, kind = list(stack.values())[-1] if stack else ("", "")
    kind_name = kind.rpartition(".")[2] if isinstance(kind, str) else getattr(kind, "__name__", "")
    module = (
        f' in module "{path}" ({kind_name})' if path else f" in the module itself ({kind_name})" if kind_name else ""
    )
    line = _line(node)
    return module + (f", {line}" if line else "")


def _line(node: fx.Node) -> str:
    return line_in(node.meta.get("stack_trace"))


def _baked(
    spec: ExportSpec, module: nn.Module, case: Case, program: torch.export.ExportedProgram, traced: Arrays
) -> str:
    """Return the first submodule, innermost first, of whose eager outputs no tensor of the traced graph equals one.

    One is enough of a part, for the graph has dropped what nobody used, such as the last state of a recurrent layer;
    what the whole gives, it must have.
    """
    within: dict[str, list[fx.Node]] = {}
    for node in program.graph.nodes:
        for path, _ in (node.meta.get("nn_module_stack") or {}).values():
            within.setdefault(str(path).partition("@")[0], []).append(node)
    for path, outputs in _eager_outputs(module, case.inputs):
        inside = [traced[node.name] for node in within.get(path, ()) if node.name in traced]
        known = (*inside, *case.inputs.values())
        missing = [all(_off(spec, value, output) for value in known) for output in outputs]
        if inside and missing and (all(missing) if path else any(missing)):
            lines = list(dict.fromkeys(filter(None, map(_line, within[path]))))
            where = f'module "{path}" ({type(module.get_submodule(path)).__name__})' if path else "the module itself"
            return (
                f"the first output that differs is that of {where}: tracing has burnt a Python value into the graph; "
                f"see {'; '.join(lines[:3])}"
            )
    return ""


def _eager_outputs(module: nn.Module, inputs: Arrays) -> list[tuple[str, list[NDArray[Any]]]]:
    """Return the tensors that each submodule gave, in the order they finished: inner ones before those around them."""
    found: list[tuple[str, list[NDArray[Any]]]] = []

    def keep(path: str) -> Any:
        def hook(_module: nn.Module, _arguments: Any, output: Any) -> None:
            found.append((path, [leaf.numpy().copy() for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]))

        return hook

    hooks = [part.register_forward_hook(keep(path)) for path, part in module.named_modules()]
    try:
        with torch.no_grad():
            module(*(torch.from_numpy(array.copy()) for array in inputs.values()))
    finally:
        for hook in hooks:
            hook.remove()
    return found
