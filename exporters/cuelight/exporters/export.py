"""From a spec to an entry of a model repository: traced, described, checked, proven, and only then put in place.

    build -> probe -> trace -> torch.onnx.export -> onnx.checker -> parity -> metadata -> golden vectors -> rename

Everything happens in a folder beside the target; a failure anywhere leaves the repository as it was.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from cuelight.exporters.conversion import write_onnx
from cuelight.exporters.errors import ExportError
from cuelight.exporters.first_difference import first_difference
from cuelight.exporters.model_names import check_names
from cuelight.exporters.parity import ParityError, ParityReport, check_parity, run_torch
from cuelight.exporters.probe import probe
from cuelight.exporters.reports.report import JSON_FILE, PAGE_FILE, make_report, write_report
from cuelight.exporters.sizes import example_of, golden_sizes
from cuelight.exporters.spec import ExportSpec
from cuelight.exporters.threads import one_thread
from cuelight.exporters.tracing import trace

__all__ = ["Export", "export_model", "write_proven"]

SCHEMA = "1"

_FILES = ("model.onnx", "golden.npz", JSON_FILE, PAGE_FILE)


@dataclass(frozen=True, slots=True)
class Export:
    """What was written, and its proof; `further` are the proofs of the graphs beside the first."""

    path: Path
    version: int
    size_bytes: int
    report: ParityReport
    further: tuple[ParityReport, ...] = ()


def export_model(
    spec: ExportSpec, repository: Path, cache_dir: Path, version: int | None = None, seed: int = 0
) -> Export:
    """Export one model into `<repository>/<name>/<version>/`, by default as the next version.

    Raises: ExportError when the model cannot be traced, described or served as it is; ParityError, one of them, when
    the file does not agree with PyTorch; FileExistsError when the version is there already; WeightsError when the
    weights cannot be had.
    """
    check_names(spec)
    folder = repository / spec.name
    number = version if version is not None else _next_version(folder)
    target = folder / str(number)
    if target.exists():
        raise FileExistsError(
            f"{target} exists; versions are never overwritten: the next one is {_next_version(folder)}"
        )
    _check_writable(repository)
    module = spec.build(cache_dir)
    repository.mkdir(parents=True, exist_ok=True)
    with one_thread(), tempfile.TemporaryDirectory(prefix=f".{spec.name}-", dir=repository) as scratch:
        model = Path(scratch) / "model.onnx"
        report, notes = write_proven(spec, module, model, seed)
        _describe(model, spec, {**spec.metadata(cache_dir), "cuelight.parity": json.dumps(report.summary())})
        _write_golden(spec, module, Path(scratch) / "golden.npz", seed)
        further = [_write_further(graph, Path(scratch), cache_dir, seed) for graph in spec.further]
        notes += tuple(line for _, lines in further for line in lines)
        beside = [f"{graph.name}.{ending}" for graph in spec.further for ending in ("onnx", "golden.npz")]
        assets = spec.assets(cache_dir)
        for name, content in assets.items():
            (Path(scratch) / name).write_bytes(content)
        write_report(make_report(spec, module, Path(scratch), number, report, seed, notes), Path(scratch))
        folder.mkdir(exist_ok=True)
        _put_in_place(Path(scratch), target, (*_FILES, *beside, *assets))
    graphs = ("model", *(graph.name for graph in spec.further))
    size_bytes = sum((target / f"{name}.onnx").stat().st_size for name in graphs)
    return Export(target, number, size_bytes, report, tuple(proof for proof, _ in further))


def write_proven(spec: ExportSpec, module: nn.Module, model: Path, seed: int) -> tuple[ParityReport, tuple[str, ...]]:
    """Write the file and compare it with the module; return the proof and what tracing took for granted.

    Raises: ExportError when the module cannot be traced; ParityError, one of them, when the file does not agree.
    """
    layout = probe(spec, module, seed)
    traced = trace(spec, module, layout, seed)
    notes = tuple(f"while it was traced, the model asked for a size at {line}" for line in traced.assumptions)
    program = write_onnx(spec, traced, layout, model)
    report = check_parity(spec, module, model, seed)
    if report.failure is not None:
        difference = first_difference(spec, module, program, model, report.failure)
        raise ParityError(report, "\n".join([difference, *notes]))
    return report, notes


def _write_further(spec: ExportSpec, folder: Path, cache_dir: Path, seed: int) -> tuple[ParityReport, tuple[str, ...]]:
    """Write a graph beside the first; return its proof, and what the report notes of it."""
    module = spec.build(cache_dir)
    path = folder / f"{spec.name}.onnx"
    report, notes = write_proven(spec, module, path, seed)
    _describe(path, spec, {**spec.metadata(cache_dir), "cuelight.parity": json.dumps(report.summary())})
    _write_golden(spec, module, folder / f"{spec.name}.golden.npz", seed)
    worst = max(report.rows, key=lambda row: row.share_of_tolerance)
    proof = (
        f"{path.name}: {len(report.rows)} comparisons with PyTorch agree, at worst {worst.max_abs_error:.1e} off "
        f"({worst.output}, {worst.share_of_tolerance:.1%} of what is allowed)"
    )
    return report, (proof, *(f"{path.name}: {note}" for note in notes))


def _check_writable(repository: Path) -> None:
    """Raise ExportError when the repository, or the folder it is to be made in, cannot be written to."""
    existing = repository
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise ExportError(f"repository {repository}: {existing} is not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ExportError(f"repository {repository}: no right to write to {existing}")


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
    for sizes in golden_sizes(spec):
        state: dict[str, np.ndarray] = {}
        for _ in range(spec.parity_steps if spec.state else 1):
            inputs = {name: tensor.numpy() for name, tensor in example_of(spec, generator, sizes).items()} | state
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
