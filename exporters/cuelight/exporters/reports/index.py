"""`reports.html` in a repository: every export in a row with its verdict, figures and files, and what failed.

It is made anew of the reports that are there after each export, and by `cuelight export index`. It lies beside the
models' folders, where a server looks at folders alone.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Iterable
from html import escape
from pathlib import Path

from cuelight.exporters.errors import ExportError
from cuelight.exporters.reports.failure import FAILED_PAGE, read_failures
from cuelight.exporters.reports.headline import heading, megabytes, milliseconds, share_text, verdict
from cuelight.exporters.reports.page import html_table, link, mark
from cuelight.exporters.reports.report import JSON_FILE, PAGE_FILE, Report, read_report
from cuelight.exporters.reports.style import html_page

__all__ = ["INDEX_FILE", "index_page", "write_index"]

INDEX_FILE = "reports.html"

_COLUMNS = (
    "model",
    "verdict",
    "worst error",
    "ONNX",
    "ONNX Runtime",
    "PyTorch",
    "licence, files",
)
_CLASSES = {0: "name", 1: "text", **dict.fromkeys((2, 3, 4, 5), "number"), 6: "text soft"}


def write_index(repository: Path) -> Path:
    """Write the page in one step, so that nobody reads half of it, and return its path. Raises: ExportError.

    An export that ends meanwhile may have written a newer page before this one took its place: then it is made again.
    """
    target = repository / INDEX_FILE
    try:
        text = None
        while text != (now := index_page(repository)):
            text = now
            _put_in_place(text, target)
    except OSError as error:
        raise ExportError(f"index of {repository}: {error}") from error
    return target


def index_page(repository: Path) -> str:
    """Return the page: failures first, then the newest version of each model by name, those before it as links."""
    failed, models = read_failures(repository), _models(repository)
    newest = [reports[-1] for reports in models]
    rows = [_failed_row(report) for report in failed] + [_row(reports) for reports in models]
    tally = Counter(verdict(report)[0] for report in (*failed, *newest))
    told = "; ".join(f"{words}: {count}" for words, count in tally.most_common()) or "no export yet"
    title = f"Exports in {escape(repository.resolve().name)}"
    text = (
        "A model's name leads to its report, with all sizes, steps, plots and the graph. Times are of one row on one "
        "thread, ONNX Runtime and PyTorch eager in turns at export; the worst error is a share of what is allowed."
    )
    body = f'<h1>{title}</h1>\n<p>{escape(told)}</p>\n<p class="soft">{text}</p>\n'
    return html_page(title, body + html_table(_COLUMNS, rows, _CLASSES, stacked=True), wide=True)


def _put_in_place(text: str, target: Path) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    scratch = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        scratch.chmod(0o644)  # mkstemp's own is for its user alone
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)


def _models(repository: Path) -> list[list[Report]]:
    """Return the reports of each model, the newest last. A folder without one is no export of ours."""
    found: dict[str, list[Report]] = {}
    versions = [path.parent for path in repository.glob(f"[!.]*/*/{JSON_FILE}") if path.parent.name.isdecimal()]
    for folder in sorted(versions, key=lambda path: (path.parent.name, int(path.name))):
        report = _report(folder)
        if report is not None:
            found.setdefault(folder.parent.name, []).append(report)
    return list(found.values())


def _report(folder: Path) -> Report | None:
    """Return a version's report; None where a version is being removed, or what lies there is none."""
    try:
        report = read_report(folder)
        return report if {"name", "version", "summary", "files_bytes"} <= set(report["model"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _row(reports: list[Report]) -> list[str]:
    *before, report = reports
    model, base = report["model"], _folder(report)
    earlier = f"<br>before: {', '.join(map(_version_link, before))}" if before else ""
    about = _about(report, f"{base}/{PAGE_FILE}") + earlier
    files = ", ".join(link(f"{base}/{name}", name) for name in (*model["files_bytes"], JSON_FILE))
    sizes = [size for name, size in model["files_bytes"].items() if name.endswith(".onnx")]
    figures = (_share(report), megabytes(sum(sizes)), *_times(report))
    return [about, f"{mark(report)}{_lost(report)}", *figures, f"{escape(model['license'])}<br>{files}"]


def _failed_row(report: Report) -> list[str]:
    name, _ = heading(report)
    return [_about(report, f"{name}{FAILED_PAGE}"), mark(report), _share(report), "", "", "", ""]


def _about(report: Report, page: str) -> str:
    name, version = heading(report)
    summary = escape(report["model"]["summary"])
    return f'<b>{link(page, name)}</b> <span class="version">{escape(version)}</span><br>{summary}'


def _folder(report: Report) -> str:
    return f"{report['model']['name']}/{report['model']['version']}"


def _version_link(report: Report) -> str:
    return link(f"{_folder(report)}/{PAGE_FILE}", heading(report)[1])


def _lost(report: Report) -> str:
    if "quantization" not in report:
        return f"<br>{escape(report['proof'][0])}" if report.get("proof") else ""
    made = report["quantization"]
    return f"<br>{escape(made['accuracy'])}: {made['before']:.4g} to {made['after']:.4g}"


def _share(report: Report) -> str:
    if "parity" not in report or "quantization" in report:
        return ""  # the tolerance of a quantized file is that of its own error
    return share_text(max((row["share_of_tolerance"] for row in report["parity"]["worst"]), default=0.0))


def _times(report: Report) -> Iterable[str]:
    if "speed" not in report:
        return ("", "")
    row = report["speed"]["rows"][0]
    axes = "".join(f", {escape(name)} {size}" for name, size in report["speed"]["axes"].items())
    return milliseconds(row["onnxruntime_s"]) + axes, milliseconds(row["torch_s"])
