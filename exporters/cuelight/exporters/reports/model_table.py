"""`cuelight export table`: every registered model in a row, with what the reports of its exports say.

    registry (task, architecture, weights, licence, check) + figures (parity, speed, int8) -> table, Markdown

Figures are read from a repository, or from a file that they were kept in: of the same figures the same table is made.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cuelight.exporters.errors import ExportError
from cuelight.exporters.files_spec import FilesSpec
from cuelight.exporters.quantize.methods import quantized_name
from cuelight.exporters.reports.report import Report, read_report
from cuelight.exporters.reports.tables import Table
from cuelight.exporters.spec import ExportSpec

__all__ = ["Figures", "figures_of", "markdown_table", "model_table", "read_figures", "short_table"]

Figures = dict[str, Any]
"""By model: what of its reports is shown. Plain data, as it is kept in a file."""

_COLUMNS = (
    "model",
    "task",
    "architecture",
    "weights",
    "licence",
    "check",
    "parity",
    "FP32 (PyTorch), ms",
    "int8 beside FP32, ms; kept",
)
_SHORT = ("model", "architecture", *_COLUMNS[6:])
_CHECK = _COLUMNS.index("check")


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


def model_table(specs: Iterable[ExportSpec | FilesSpec], figures: Mapping[str, Any]) -> Table:
    """Return a row a model; what is not exported has no figures."""
    rows = tuple(_row(spec, figures.get(spec.name)) for spec in specs)
    text = (
        "Parity: comparisons with PyTorch that agree, and how much of what is allowed the worst one used. Times are of "
        "a row on one thread, the two of a cell in turns: ONNX Runtime and PyTorch eager at export, int8 and FP32 when "
        "it was converted; and what a measure was before and is now."
    )
    return Table("Models", text, _COLUMNS, rows)


def short_table(specs: Sequence[ExportSpec | FilesSpec], figures: Mapping[str, Any]) -> Table:
    """Return the table as it fits a terminal: the columns of what never changes are left to Markdown."""
    table = model_table(specs, figures)
    shown = [index for index, name in enumerate(table.columns) if name in _SHORT]
    rows = tuple(tuple(row[index] for index in shown) for row in table.rows)
    return Table(table.title, table.text, tuple(table.columns[index] for index in shown), rows)


def markdown_table(specs: Sequence[ExportSpec | FilesSpec], figures: Mapping[str, Any]) -> str:
    """Return the table as Markdown, its names as code and its checks as links to their tests."""
    table = model_table(specs, figures)
    lines = [table.text, "", f"| {' | '.join(table.columns)} |", "|" + "---|" * len(table.columns)]
    for spec, row in zip(specs, table.rows, strict=True):
        cells = [f"`{row[0]}`", *row[1:]]
        if spec.check is not None:
            cells[_CHECK] = f"[{spec.check.says}]({spec.check.test.partition('::')[0]})"
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


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


def _row(spec: ExportSpec | FilesSpec, found: Mapping[str, Any] | None) -> tuple[str, ...]:
    check = spec.check.says if spec.check is not None else ""
    told = (spec.name, spec.task, spec.architecture, spec.source, spec.license, check)
    if found is None:
        return (*told, "", "", "")
    return (*told, _parity(found), _fp32(found.get("speed")), _quantized(found["int8"]))


def _parity(found: Mapping[str, Any]) -> str:
    if "proof" in found:
        return str(found["proof"])
    parity = found["parity"]
    verdict = f"{parity['comparisons']:,}" if parity["passed"] else "DO NOT AGREE"
    return f"{verdict}, {parity['worst_share']:.1%}"


def _fp32(speed: Mapping[str, Any] | None) -> str:
    if speed is None:
        return ""
    axes = "".join(f", {name} {size}" for name, size in speed["axes"].items())
    return f"{_ms(speed['onnxruntime_s'])} ({_ms(speed['torch_s'])}){axes}"


def _quantized(made: Mapping[str, Any] | None) -> str:
    if made is None:
        return ""
    return (
        f"{_ms(made['quantized_s'])} beside {_ms(made['fp32_s'])}; {made['before']:.4g} to {made['after']:.4g} "
        f"({made['accuracy']})"
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g}"
