"""The report of one export as plain data: made once, written as JSON, read back by the page and the terminal."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from cuelight.exporters.files_spec import FilesSpec
from cuelight.exporters.parity import OutputParity, ParityError, ParityReport
from cuelight.exporters.reports.cuda_coverage import cuda_coverage
from cuelight.exporters.reports.graph_summary import summarize_graph
from cuelight.exporters.reports.speed import measure_speed
from cuelight.exporters.spec import ExportSpec

__all__ = [
    "JSON_FILE",
    "PAGE_FILE",
    "Report",
    "make_failed_report",
    "make_files_report",
    "make_report",
    "read_report",
    "write_report",
]

Report = dict[str, Any]
"""Sections by name, as `report.json` has them: model, parity or proof, golden, graph, speed, cuda, cuda_beside.

That of a failure has model, parity, and difference: where the two part, in words.
"""

_SCHEMA = 1
JSON_FILE = "report.json"
PAGE_FILE = "report.html"


def make_report(
    spec: ExportSpec,
    module: nn.Module,
    folder: Path,
    version: int,
    parity: ParityReport,
    seed: int,
    notes: tuple[str, ...] = (),
) -> Report:
    """Look at the finished files of a version, time them, and return the report."""
    model = folder / "model.onnx"
    return {
        "schema": _SCHEMA,
        "model": {
            "name": spec.name,
            "version": version,
            "summary": spec.summary,
            "task": spec.task,
            "source": spec.source,
            "license": spec.license,
            "max_batch_size": spec.max_batch_size,
            "state": [{"input": pair.input, "output": pair.output} for pair in spec.state],
            "parameters": sum(parameter.numel() for parameter in module.parameters()),
            "made": _now(),
            "files_bytes": _sizes_of(folder),
            "notes": list(notes),
        },
        "parity": _parity(spec, parity, seed),
        "golden": _golden(folder / "golden.npz"),
        "graph": asdict(summarize_graph(model)),
        "speed": asdict(measure_speed(spec, module, model, seed)),
        "cuda": asdict(cuda_coverage(model)),
        "cuda_beside": _cuda_beside(folder),
    }


def make_files_report(spec: FilesSpec, folder: Path, version: int, proof: str) -> Report:
    """Return the report of a model published as files: its own proof, the graph and what would run on CUDA."""
    model = folder / "model.onnx"
    named = {"name": spec.name, "version": version, "summary": spec.summary, "source": spec.source}
    task = {"task": spec.task, "license": spec.license, "state": [], "notes": []}
    return {
        "schema": _SCHEMA,
        "model": {**named, **task, "made": _now(), "files_bytes": _sizes_of(folder)},
        "proof": proof.splitlines(),
        "graph": asdict(summarize_graph(model)),
        "cuda": asdict(cuda_coverage(model)),
        "cuda_beside": _cuda_beside(folder),
    }


def make_failed_report(spec: ExportSpec, name: str, error: ParityError, seed: int) -> Report:
    """Return the report of an export that wrote nothing: its comparisons, and the first tensor that differs.

    `name` is that in the repository; the graph that failed may be one beside the first.
    """
    graph = next(graph for graph in (spec, *spec.further) if graph.name == error.report.name)
    named = {"name": name, "version": None, "summary": spec.summary, "source": spec.source}
    state = [{"input": pair.input, "output": pair.output} for pair in graph.state]
    of = {"task": spec.task, "license": spec.license, "state": state, "notes": []}
    return {
        "schema": _SCHEMA,
        "model": {**named, **of, "made": _now(), "files_bytes": {}},
        "difference": error.difference if graph is spec else f"{graph.name}.onnx: {error.difference}",
        "parity": _parity(graph, error.report, seed),
    }


def write_report(report: Report, folder: Path) -> None:
    """Write `report.json` and `report.html`."""
    from cuelight.exporters.reports.page import as_page  # noqa: PLC0415 (the page reads what this module makes)

    (folder / JSON_FILE).write_text(json.dumps(report, indent=1), encoding="utf-8")
    (folder / PAGE_FILE).write_text(as_page(report), encoding="utf-8")


def read_report(folder: Path) -> Report:
    """Return the report of a version's folder, or of its newest version where a model's folder is given.

    Raises: FileNotFoundError saying where a report was looked for.
    """
    if (folder / JSON_FILE).is_file():
        report: Report = json.loads((folder / JSON_FILE).read_text(encoding="utf-8"))
        return report
    versions = [path for path in folder.glob("*") if path.name.isdecimal() and (path / JSON_FILE).is_file()]
    if not versions:
        raise FileNotFoundError(f"{folder}: no {JSON_FILE} in it, nor in a version below it")
    return read_report(max(versions, key=lambda path: int(path.name)))


def _cuda_beside(folder: Path) -> dict[str, Any]:
    """Return what would run on CUDA of the graphs beside the first, such as the step of a decoder, by file."""
    beside = sorted(path for path in folder.glob("*.onnx") if path.name != "model.onnx")
    return {path.name: asdict(cuda_coverage(path)) for path in beside}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _sizes_of(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}


def _parity(spec: ExportSpec, parity: ParityReport, seed: int) -> Report:
    """Return the worst of each output: over everything, over each size, over each step."""
    sizes: dict[tuple[str, int, tuple[tuple[str, int], ...]], OutputParity] = {}
    steps: dict[str, list[float]] = {name: [0.0] * spec.parity_steps for name in spec.outputs}
    for row in parity.rows:
        key = (row.output, row.batch, row.axes)
        if key not in sizes or row.share_of_tolerance > sizes[key].share_of_tolerance:
            sizes[key] = row
        steps[row.output][row.step] = max(steps[row.output][row.step], row.max_abs_error)
    return {
        **parity.summary(),
        "passed": parity.passed,
        "batches": list(spec.parity_batches),
        "axes": {axis.name: list(axis.sizes) for axis in spec.axes},
        "steps": spec.parity_steps,
        "seeds": list(range(seed, seed + spec.parity_seeds)),
        "by_size": [asdict(row) for row in sizes.values()],
        "max_abs_error_by_step": steps,
    }


def _golden(path: Path) -> Report:
    with np.load(path, allow_pickle=False) as golden:
        shapes = {name: list(golden[name].shape) for name in golden.files if "/" in name}
    cases = {name.split("/")[0] for name in shapes}
    first = {name.partition("/")[2]: shape for name, shape in shapes.items() if name.startswith("0/")}
    return {"cases": len(cases), "first_case_shapes": first, "bytes": path.stat().st_size}
