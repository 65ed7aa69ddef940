"""From a spec to an entry of a model repository: traced, described, checked, proven, and only then put in place.

    build -> probe -> trace -> torch.onnx.export -> onnx.checker -> parity -> metadata -> golden vectors -> rename

Everything happens in a folder beside the target; a failure anywhere leaves the repository as it was.
"""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from cuelight.exporters.conversion import write_onnx
from cuelight.exporters.first_difference import first_difference
from cuelight.exporters.model_names import RESERVED_FILES, check_files, check_names
from cuelight.exporters.parity import ParityError, ParityReport, check_parity, run_torch
from cuelight.exporters.probe import probe
from cuelight.exporters.reports.report import make_report, write_report
from cuelight.exporters.sizes import example_of, golden_sizes
from cuelight.exporters.spec import ExportSpec
from cuelight.exporters.threads import one_thread
from cuelight.exporters.tracing import trace
from cuelight.exporters.versions import check_writable, new_version, put_in_place

__all__ = ["Export", "Written", "export_model", "write_proven", "write_version"]

SCHEMA = "1"


@dataclass(frozen=True, slots=True)
class Export:
    """What was written, and its proof; `further` are the proofs of the graphs beside the first."""

    path: Path
    version: int
    size_bytes: int
    report: ParityReport
    further: tuple[ParityReport, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """What `write_version` describes and keeps: the file's proof, and what its writer has to add.

    `spec` is the one that the file is held to, in its golden vectors too; `notes` are of the report, `metadata` of the
    file, `sections` further ones of the report.
    """

    spec: ExportSpec
    parity: ParityReport
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    sections: Mapping[str, Any] = field(default_factory=dict)


def export_model(
    spec: ExportSpec, repository: Path, cache_dir: Path, version: int | None = None, seed: int = 0
) -> Export:
    """Export one model into `<repository>/<name>/<version>/`, by default as the next version.

    Raises: ExportError when the model cannot be traced, described or served as it is; ParityError, one of them, when
    the file does not agree with PyTorch; FileExistsError when the version is there already; WeightsError when the
    weights cannot be had.
    """

    def write(module: nn.Module, model: Path) -> Written:
        report, notes = write_proven(spec, module, model, seed)
        return Written(spec, report, notes)

    return write_version(spec, repository, cache_dir, version, seed, write)


def write_version(
    spec: ExportSpec,
    repository: Path,
    cache_dir: Path,
    version: int | None,
    seed: int,
    write: Callable[[nn.Module, Path], Written],
) -> Export:
    """Have `write(module, path)` write a proven file, and put it into `<repository>/<spec.name>/<version>/`.

    Raises: what `write` raises, and as `export_model`.
    """
    check_names(spec)
    number = new_version(repository / spec.name, version)
    target = repository / spec.name / str(number)
    check_writable(repository)
    module = spec.build(cache_dir)
    repository.mkdir(parents=True, exist_ok=True)
    with one_thread(), tempfile.TemporaryDirectory(prefix=f".{spec.name}-", dir=repository) as scratch:
        model = Path(scratch) / "model.onnx"
        made = write(module, model)
        proof = {"cuelight.parity": json.dumps(made.parity.summary())}
        _describe(model, made.spec, {**spec.metadata(cache_dir), **made.metadata, **proof})
        _write_golden(made.spec, module, Path(scratch) / "golden.npz", seed)
        further = [_write_further(graph, Path(scratch), cache_dir, seed) for graph in spec.further]
        notes = (*made.notes, *(line for _, lines in further for line in lines))
        beside = [f"{graph.name}.{ending}" for graph in spec.further for ending in ("onnx", "golden.npz")]
        assets = spec.assets(cache_dir)
        check_files([*beside, *assets])
        for name, content in assets.items():
            (Path(scratch) / name).write_bytes(content)
        report = make_report(made.spec, module, Path(scratch), number, made.parity, seed, notes)
        write_report({**report, **made.sections}, Path(scratch))
        put_in_place(_finished(Path(scratch), (*RESERVED_FILES, *beside, *assets)), target)
    graphs = ("model", *(graph.name for graph in spec.further))
    size_bytes = sum((target / f"{name}.onnx").stat().st_size for name in graphs)
    return Export(target, number, size_bytes, made.parity, tuple(proof for proof, _ in further))


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


def _finished(scratch: Path, names: Sequence[str]) -> Path:
    """Return a folder within the scratch one that holds the finished files alone."""
    ready = scratch / "finished"
    ready.mkdir()
    for name in names:
        (scratch / name).rename(ready / name)
    return ready
