"""`cuelight export table`: every registered model in a row, with what the reports of its exports say.

    registry (task, architecture, weights, licence, check) + figures (parity, speed, int8) -> tables, Markdown

Figures are read from a repository, or from a file that they were kept in: of the same figures the same table is made.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cuelight.exporters.errors import ExportError
from cuelight.exporters.files_spec import FilesSpec
from cuelight.exporters.quantize.methods import quantized_name
from cuelight.exporters.reports.headline import share_text
from cuelight.exporters.reports.report import Report, read_report
from cuelight.exporters.reports.tables import Table
from cuelight.exporters.spec import ExportSpec

__all__ = ["Figures", "figures_of", "figures_table", "models_table", "read_figures", "short_table"]

Figures = dict[str, Any]
"""By model: what of its reports is shown. Plain data, as it is kept in a file."""

_MODEL_COLUMNS = ("model", "task", "architecture", "weights", "licence", "check")
_FIGURE_COLUMNS = ("model", "row of", "cases", "of allowed", "FP32", "PyTorch", "int8", "FP32 beside", "kept", "of")
_SHORT_COLUMNS = ("model", "cases, of allowed", "FP32 (PyTorch)", "int8 (FP32 beside)", "kept, of")


def figures_of(specs: Iterable[ExportSpec | FilesSpec], repository: Path) -> Figures:
    """Return the figures of those models that the repository has, from the report of the newest version."""
    figures: Figures = {}
    for spec in specs:
        report = _report(repository / spec.name)
        if report is not None:
            quantized = _report(repository / quantized_name(spec.name, "int8-dynamic"))
            figures[spec.name] = {**_figures(report), "int8": _int8(quantized) if quantized else None}
    return figures


def read_figures(file: Path) -> Figures:
    """Return the figures that a run of `benchmarks/models.py` kept. Raises: ExportError when there are none in it."""
    try:
        figures: Figures = json.loads(file.read_text(encoding="utf-8"))["reports"]
    except (OSError, ValueError, KeyError) as error:
        raise ExportError(f"figures {file}: {type(error).__name__}: {error}") from error
    return figures


def models_table(specs: Iterable[ExportSpec | FilesSpec]) -> Table:
    """Return what each model is, a row each: what the registry says."""
    rows = tuple(
        (
            spec.name,
            spec.task.replace("_", " "),
            spec.architecture,
            spec.source,
            spec.license,
            spec.check.says if spec.check is not None else "",
        )
        for spec in specs
    )
    return Table("Models", "What each was held to beside its parity with PyTorch is its check.", _MODEL_COLUMNS, rows)


def figures_table(specs: Iterable[ExportSpec | FilesSpec], figures: Mapping[str, Any]) -> Table:
    """Return what was measured of each model, a row each; what is not exported has no figures."""
    text = (
        "Cases compared with PyTorch, all within what is allowed; how much of that the worst one used. Times "
        "are ms a row on one thread, in turns: ONNX Runtime (FP32) and PyTorch eager at export, int8 and FP32 beside "
        "it when it was converted. Kept: a measure before that and after."
    )
    rows = tuple((spec.name, *_cells(figures.get(spec.name))) for spec in specs)
    return Table("Figures", text, _FIGURE_COLUMNS, rows, frozenset(range(2, 8)))


def short_table(specs: Iterable[ExportSpec | FilesSpec], figures: Mapping[str, Any]) -> Table:
    """Return the same in fewer columns that can be folded, as it fits a terminal."""
    table = figures_table(specs, figures)
    rows = []
    for name, axes, cases, used, fp32, pytorch, int8, beside, kept, measure in table.rows:
        times = " ".join(filter(None, (fp32, f"({pytorch})" if pytorch else "", axes)))
        quantized = f"{int8} ({beside})" if int8 else ""
        rows.append((name, _joined(cases, used), times, quantized, _joined(kept, measure)))
    return Table(table.title, table.text, _SHORT_COLUMNS, tuple(rows))


def _joined(*texts: str) -> str:
    return ", ".join(filter(None, texts))


def _report(folder: Path) -> Report | None:
    return read_report(folder) if any(folder.glob("*/report.json")) else None


def _figures(report: Report) -> Figures:
    figures: Figures = {"version": report["model"]["version"]}
    if "parity" in report:
        parity = report["parity"]
        share = max(row["share_of_tolerance"] for row in parity["worst"])
        figures["parity"] = {"comparisons": parity["comparisons"], "passed": parity["passed"], "worst_share": share}
    else:
        figures["proof"] = report["proof"][0]
    if "speed" in report:
        figures["speed"] = {**report["speed"]["rows"][0], "axes": report["speed"]["axes"]}
    return figures


def _int8(report: Report) -> Figures:
    made = report["quantization"]
    kept = ("method", "excluded", "accuracy", "before", "after", "bytes_before", "bytes_after")
    return {**{key: made[key] for key in kept}, **made["speed"][0]}


def _cells(found: Mapping[str, Any] | None) -> tuple[str, ...]:
    if found is None:
        return ("",) * (len(_FIGURE_COLUMNS) - 1)
    if "proof" in found:
        return (*("",) * (len(_FIGURE_COLUMNS) - 2), str(found["proof"]))
    axes, *times = _fp32(found.get("speed"))
    return (axes, *_parity(found["parity"]), *times, *_quantized(found["int8"]))


def _parity(parity: Mapping[str, Any]) -> tuple[str, str]:
    compared = f"{parity['comparisons']:,}" if parity["passed"] else "DO NOT AGREE"
    return compared, share_text(parity["worst_share"])


def _fp32(speed: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if speed is None:
        return ("", "", "")
    axes = ", ".join(f"{name} {size}" for name, size in speed["axes"].items())
    return axes, _ms(speed["onnxruntime_s"]), _ms(speed["torch_s"])


def _quantized(made: Mapping[str, Any] | None) -> tuple[str, str, str, str]:
    if made is None:
        return ("", "", "", "")
    kept = f"{made['before']:.4g} to {made['after']:.4g}"
    return _ms(made["quantized_s"]), _ms(made["fp32_s"]), kept, made["accuracy"]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g}"
