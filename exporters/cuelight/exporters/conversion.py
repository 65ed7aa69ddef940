"""From PyTorch's graph to a checked ONNX file whose axes have names."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch

from cuelight.exporters.errors import ExportError
from cuelight.exporters.probe import Layout
from cuelight.exporters.quiet import quiet
from cuelight.exporters.recurrent import recurrent_layers_whole
from cuelight.exporters.sizes import BATCH
from cuelight.exporters.spec import ExportSpec
from cuelight.exporters.tracing import Trace
from cuelight.exporters.user_code import line_in

__all__ = ["write_onnx"]


def write_onnx(spec: ExportSpec, traced: Trace, layout: Layout, path: Path) -> torch.export.ExportedProgram:
    """Convert a traced module into an ONNX file with its axes named, check it, and return the graph it was made from.

    Raises: ExportError naming the operation that ONNX has no form for, with the line of the user's model.
    """
    try:
        with quiet(), recurrent_layers_whole():
            converted = torch.onnx.export(
                traced.program,
                (),
                input_names=list(layout.inputs),
                output_names=list(spec.outputs),
                opset_version=spec.opset,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
            assert converted is not None  # it is None without dynamo
            assert converted.exported_program is not None  # it is None for what was not traced
            _keep_names_apart(converted.model, spec.outputs)
            converted.save(path)
    except Exception as error:
        # The exporter raises many types, for whatever it met; all mean that there is no ONNX form.
        raise ExportError(_conversion_text(spec, traced.program, error)) from error
    model = onnx.load(path)
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset != spec.opset:
        raise ExportError(f"{spec.name}: opset {spec.opset} cannot be had from this model, only {opset}")
    _name_axes(model, layout)
    _strip(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return converted.exported_program


def _conversion_text(spec: ExportSpec, program: torch.export.ExportedProgram, error: BaseException) -> str:
    """Return what ONNX has no form for, and the line it came from."""
    reasons: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        reasons.append(str(cause))
        cause = cause.__cause__
    said = "\n".join(reasons)
    operation = re.search(r"OpOverload\(op='([\w.]+)'", said)
    node_name = re.search(r"translating node %(\w+)", said)
    line = _line_of(node_name[1], program) if node_name else ""
    where = f" at {line}" if line else ""
    if operation:
        return f"{spec.name}: ONNX has no form for {operation[1]}{where}; compute it from other operations"
    return f"{spec.name}: the traced graph cannot be converted to ONNX{where}: {reasons[-1].strip().splitlines()[0]}"


def _line_of(node_name: str, program: torch.export.ExportedProgram) -> str:
    """Return the user's line that a node came from, which is one of the graph whose operations are broken up."""
    with quiet():
        nodes = {node.name: node for node in program.run_decompositions().graph.nodes}
    return line_in(nodes[node_name].meta.get("stack_trace")) if node_name in nodes else ""


def _keep_names_apart(model: Any, outputs: Sequence[str]) -> None:
    """Rename what inside the graph has an output's name: torch names values after operations, such as `embedding`."""
    given = set(map(id, model.graph.outputs))
    for node in model.graph.all_nodes():
        for value in node.outputs:
            if value.name in outputs and id(value) not in given:
                value.name = f"{value.name}_inside"


def _name_axes(model: onnx.ModelProto, layout: Layout) -> None:
    """Give every free axis its name; an axis of an output that follows from others keeps its formula."""
    axes: Mapping[str, Mapping[int, str]] = {**layout.inputs, **layout.outputs}
    names: dict[str, str] = {}
    for value in model.graph.input:
        for axis, name in axes.get(value.name, {}).items():
            names[value.type.tensor_type.shape.dim[axis].dim_param] = name
    for value in (*model.graph.input, *model.graph.output):
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            free = axes.get(value.name, {}).get(axis)
            formula = re.sub(r"[A-Za-z_]\w*", lambda found: names.get(found[0], found[0]), dimension.dim_param)
            if free is not None and (free == BATCH or value.name in layout.inputs or not formula):
                formula = free
            if formula:
                dimension.Clear()
                dimension.dim_param = formula


def _strip(model: onnx.ModelProto) -> None:
    """Drop what only the tracer needed: documentation strings and source lines."""
    model.doc_string = ""
    model.graph.doc_string = ""
    del model.graph.value_info[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output):
        value.doc_string = ""
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
