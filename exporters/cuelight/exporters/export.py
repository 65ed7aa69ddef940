"""From a spec to an entry of a model repository: traced, described, checked, proven, and only then put in place.

    build -> torch.onnx.export -> metadata -> onnx.checker -> parity -> golden vectors -> rename into the repository

Everything happens in a folder beside the target; a failure anywhere leaves the repository as it was.
"""

import json
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from cuelight.exporters.parity import ParityReport, check_parity, run_torch
from cuelight.exporters.spec import ExportSpec

__all__ = ["Export", "export_model", "write_onnx"]

SCHEMA = "1"

_BATCH = "batch"
_TRACE_BATCH = 2
"""Batch size of the traced example: 1 would be burnt into the graph as a constant."""
_LONGEST_AXIS = 1 << 20


@dataclass(frozen=True, slots=True)
class Export:
    """What was written, and its proof."""

    path: Path
    version: int
    size_bytes: int
    report: ParityReport


def export_model(
    spec: ExportSpec, repository: Path, cache_dir: Path, version: int | None = None, seed: int = 0
) -> Export:
    """Export one model into `<repository>/<name>/<version>/`, by default as the next version.

    Raises: ParityError when the file does not agree with PyTorch; FileExistsError when the version is there already;
    WeightsError when the weights cannot be had.
    """
    folder = repository / spec.name
    number = version if version is not None else _next_version(folder)
    target = folder / str(number)
    if target.exists():
        raise FileExistsError(f"{target} exists; versions are never overwritten")
    module = spec.build(cache_dir)
    repository.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{spec.name}-", dir=repository) as scratch:
        model = Path(scratch) / "model.onnx"
        write_onnx(spec, module, model, seed)
        report = check_parity(spec, module, model, seed)
        _describe(model, spec, {**spec.metadata(cache_dir), "cuelight.parity": json.dumps(report.summary())})
        _write_golden(spec, module, Path(scratch) / "golden.npz", seed)
        assets = spec.assets(cache_dir)
        for name, content in assets.items():
            (Path(scratch) / name).write_bytes(content)
        folder.mkdir(exist_ok=True)
        _put_in_place(Path(scratch), target, ("model.onnx", "golden.npz", *assets))
    return Export(target, number, (target / "model.onnx").stat().st_size, report)


def write_onnx(spec: ExportSpec, module: nn.Module, path: Path, seed: int) -> None:
    """Trace the module into an ONNX file whose every tensor has the axis `batch` first, and check the file.

    Other axes are as in the example, but for those that `spec.axes` names.
    """
    inputs = spec.example(torch.Generator().manual_seed(seed), _TRACE_BATCH)
    batch = torch.export.Dim(_BATCH, min=1, max=_LONGEST_AXIS)
    others = {name: torch.export.Dim.DYNAMIC for axes in spec.axes.values() for name in axes.values()}
    with warnings.catch_warnings():
        # The exporter warns of its own internals; what counts is checked below and by parity.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=list(spec.outputs),
            dynamic_shapes=tuple(
                {0: batch, **{axis: others[other] for axis, other in spec.axes.get(name, {}).items()}}
                for name in inputs
            ),
            opset_version=spec.opset,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    model = onnx.load(path)
    _name_axes(model, spec)
    _strip(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _name_axes(model: onnx.ModelProto, spec: ExportSpec) -> None:
    for value in (*model.graph.input, *model.graph.output):
        for axis, name in {0: _BATCH, **spec.axes.get(value.name, {})}.items():
            dimension = value.type.tensor_type.shape.dim[axis]
            dimension.Clear()
            dimension.dim_param = name


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


def _describe(path: Path, spec: ExportSpec, more: dict[str, str]) -> None:
    model = onnx.load(path)
    state = [
        {"input": pair.input, "output": pair.output, "batch_axis": pair.batch_axis, "initial": "zeros"}
        for pair in spec.state
    ]
    described = {
        "cuelight.schema": SCHEMA,
        "cuelight.task": spec.task,
        "cuelight.max_batch_size": str(spec.max_batch_size),
        "cuelight.source": spec.source,
        "cuelight.license": spec.license,
        **({"cuelight.state": json.dumps(state)} if state else {}),
        **more,
    }
    onnx.helper.set_model_props(model, described)
    model.producer_name = "cuelight"
    onnx.save(model, path)


def _write_golden(spec: ExportSpec, module: nn.Module, path: Path, seed: int) -> None:
    """Write inputs and PyTorch's outputs, for the server to replay at every load."""
    generator = torch.Generator().manual_seed(seed + 1)
    arrays: dict[str, np.ndarray] = {"atol": np.float64(spec.atol), "rtol": np.float64(spec.rtol)}  # type: ignore[dict-item]
    case = 0
    for batch in spec.golden_batches:
        state: dict[str, np.ndarray] = {}
        for _ in range(spec.parity_steps if spec.state else 1):
            inputs = {name: tensor.numpy() for name, tensor in spec.example(generator, batch).items()} | state
            outputs = run_torch(spec, module, inputs)
            arrays |= {f"{case}/inputs/{name}": array for name, array in inputs.items()}
            arrays |= {f"{case}/outputs/{name}": array for name, array in outputs.items()}
            state = {pair.input: outputs[pair.output] for pair in spec.state}
            case += 1
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def _next_version(folder: Path) -> int:
    numbers = [int(path.name) for path in folder.glob("*") if path.is_dir() and path.name.isdecimal()]
    return max(numbers, default=0) + 1


def _put_in_place(scratch: Path, target: Path, names: Sequence[str]) -> None:
    """Rename the finished files in one step, so that a polling server never sees half a version."""
    ready = scratch.with_name(f"{scratch.name}.ready")
    ready.mkdir()
    for name in names:
        shutil.move(scratch / name, ready / name)
    ready.rename(target)
