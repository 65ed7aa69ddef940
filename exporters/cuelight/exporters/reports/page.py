"""The report as one HTML page that needs nothing beside it: no script, no font, no picture from elsewhere."""

from html import escape

from cuelight.exporters.reports.plots import bars, log_lines
from cuelight.exporters.reports.report import Report
from cuelight.exporters.reports.tables import Table, tables

__all__ = ["as_page", "facts", "verdict"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 72rem; margin: 2rem auto;
  padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 }
th, td { text-align: left; padding: .15rem .9rem .15rem 0; border-bottom: 1px solid #ddd; vertical-align: top }
.number { text-align: right; font-variant-numeric: tabular-nums }
.verdict { display: inline-block; padding: .1rem .6rem; border-radius: .3rem; color: #fff; background: #2a7d2a }
.verdict.failed { background: #a00 }
svg { max-width: 100%; height: auto } .scroll { overflow-x: auto }
"""


def as_page(report: Report) -> str:
    """Return the page."""
    model = report["model"]
    title = escape(f"{model['name']}, version {model['version']}")
    words, passed = verdict(report)
    mark = f'<span class="verdict{"" if passed else " failed"}">{words}</span>'
    pictures = {"Parity: the worst of each output": _errors, "Speed": _speed}
    sections = "\n".join(
        _section(table, pictures[table.title](report) if table.title in pictures else "") for table in tables(report)
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title} {mark}</h1>\n"
        f"{_facts(report)}\n{sections}\n</body>\n</html>\n"
    )


def verdict(report: Report) -> tuple[str, bool]:
    """Return how the proof ended, in words, and whether it passed."""
    if "quantization" in report:
        return "loses no more than it may", True
    if "parity" not in report:
        return "proven", True
    passed = bool(report["parity"]["passed"])
    return ("agrees with PyTorch" if passed else "does not agree with PyTorch"), passed


def facts(report: Report) -> list[tuple[str, str]]:
    """Return what stands at the top: what the model is, takes and gives."""
    model, graph = report["model"], report["graph"]
    described = {
        side: "; ".join(f"{t['name']} {t['datatype']} [{','.join(map(str, t['shape']))}]" for t in graph[side])
        for side in ("inputs", "outputs")
    }
    found = [
        ("what it is", model["summary"]),
        ("task", model["task"]),
        ("inputs", described["inputs"]),
        ("outputs", described["outputs"]),
        ("state", "; ".join(f"{pair['input']} takes {pair['output']}" for pair in model["state"])),
        ("batch", f"up to {model['max_batch_size']} rows" if "max_batch_size" in model else ""),
        ("source", model["source"]),
        ("licence", model["license"]),
        ("files", ", ".join(f"{name} {size:,} bytes" for name, size in model["files_bytes"].items())),
        ("made", model["made"]),
        *(("note", note) for note in model["notes"]),
        *(("proof", line) for line in report.get("proof", [])),
    ]
    return [(name, text) for name, text in found if text]


def _facts(report: Report) -> str:
    rows = (f'<tr><th scope="row">{escape(name)}</th><td>{escape(text)}</td></tr>' for name, text in facts(report))
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def _errors(report: Report) -> str:
    parity = report["parity"]
    if parity["steps"] > 1:
        picture = log_lines(parity["max_abs_error_by_step"], "largest absolute error of each step,", parity["atol"])
    else:
        worst = {row["output"]: [100 * row["share_of_tolerance"]] for row in parity["worst"]}
        picture = bars(["largest share of the tolerance"], worst, "%")
    return picture


def _speed(report: Report) -> str:
    rows = report["speed"]["rows"]
    series = {
        "ONNX Runtime": [row["batch"] / row["onnxruntime_s"] for row in rows],
        "PyTorch eager": [row["batch"] / row["torch_s"] for row in rows],
    }
    return bars([f"batch {row['batch']}" for row in rows], series, "rows/s")


def _section(table: Table, picture: str) -> str:
    body = _table(table)
    if table.long:
        body = f"<details><summary>{len(table.rows)} rows</summary>{body}</details>"
    head = f"<h2>{escape(table.title)}</h2><p>{escape(table.text)}</p>"
    return f'<section>{head}{picture}<div class="scroll">{body}</div></section>'


def _table(table: Table) -> str:
    if not table.rows:
        return ""
    right = [' class="number"' if index in table.numbers else "" for index in range(len(table.columns))]
    head = "".join(
        f'<th scope="col"{mark}>{escape(name)}</th>' for name, mark in zip(table.columns, right, strict=True)
    )
    lines = (
        "<tr>" + "".join(f"<td{mark}>{escape(cell)}</td>" for cell, mark in zip(row, right, strict=True)) + "</tr>"
        for row in table.rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
