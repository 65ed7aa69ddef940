"""The report as one HTML page that needs nothing beside it: no script, no font, no picture from elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from urllib.parse import quote

from cuelight.exporters.reports.headline import Headline, heading, headlines, megabytes, verdict
from cuelight.exporters.reports.plots import bars, log_lines
from cuelight.exporters.reports.report import JSON_FILE, Report
from cuelight.exporters.reports.style import html_page
from cuelight.exporters.reports.tables import Table, tables

__all__ = ["as_page", "facts", "html_table", "link", "mark"]


def as_page(report: Report) -> str:
    """Return the page: the verdict and the figures that matter first, then what the model is, then every table."""
    name, version = map(escape, heading(report))
    title = f"{name}, {version}: {escape(verdict(report)[0])}"
    pictures = {"Parity: the worst of each output": _errors, "Speed": _speed}
    sections = "\n".join(
        _section(table, pictures[table.title](report) if table.title in pictures else "") for table in tables(report)
    )
    told = f"{mark(report)}\n{_proof(report)}{_tiles(headlines(report))}"
    head = f"<header>\n<h1>{name} <small>{version}</small></h1>\n{told}\n</header>"
    return html_page(title, f"{head}\n{_failure(report)}{_facts(report)}\n{sections}")


def mark(report: Report) -> str:
    """Return the verdict as a coloured mark that is read in words, too."""
    words, passed = verdict(report)
    sign, kind = ("✓", "verdict") if passed else ("✗", "verdict failed")
    return f'<span class="{kind}">{sign} {escape(words)}</span>'


def link(path: str, text: str) -> str:
    """Return a link to a file below the page's own folder."""
    return f'<a href="./{escape(quote(path))}">{escape(text)}</a>'


def facts(report: Report) -> list[tuple[str, str]]:
    """Return what stands at the top: what the model is, takes and gives."""
    model, graph = report["model"], report.get("graph", {"inputs": (), "outputs": ()})
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
        ("files", ", ".join(f"{name} {megabytes(size)}" for name, size in model["files_bytes"].items())),
        ("made", model["made"].replace("T", " ").replace("+00:00", " UTC")),
        *(("note", note) for note in model["notes"]),
        *(("proof", line) for line in report.get("proof", [])),
    ]
    return [(name, text) for name, text in found if text]


def html_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], classes: Mapping[int, str], stacked: bool = False
) -> str:
    """Return a table of cells that are HTML already; `classes` by the number of the column.

    A stacked one has its cells below each other on a narrow screen, each with the name of its column.
    """

    def cell(tag: str, index: int, text: str, more: str) -> str:
        kind = f' class="{classes[index]}"' if index in classes else ""
        name = f' data-name="{escape(columns[index])}"' if stacked and tag == "td" and text else ""
        return f"<{tag}{more}{kind}{name}>{text}</{tag}>"

    def line(tag: str, texts: Sequence[str], more: str = "") -> str:
        return f"<tr>{''.join(cell(tag, index, text, more) for index, text in enumerate(texts))}</tr>"

    head = line("th", [escape(name) for name in columns], ' scope="col"')
    body = "\n".join(line("td", row) for row in rows)
    kind = ' class="stacked"' if stacked else ""
    return f'<div class="scroll"><table{kind}><thead>{head}</thead><tbody>\n{body}\n</tbody></table></div>'


def _tiles(found: Iterable[Headline]) -> str:
    tiles = (
        f"<div><dt>{escape(one.name)}</dt><dd>{escape(one.figure)}</dd><dd>{escape(one.beside)}</dd></div>"
        for one in found
    )
    return f'<dl class="tiles">{"".join(tiles)}</dl>'


def _proof(report: Report) -> str:
    """Return what is said of a proof that is no comparison with PyTorch."""
    return f"<p>{escape(report['proof'][0])}</p>\n" if report.get("proof") else ""


def _failure(report: Report) -> str:
    if "difference" not in report:
        return ""
    return f"<section><h2>Where the two part</h2><pre>{escape(report['difference'])}</pre></section>\n"


def _facts(report: Report) -> str:
    texts: dict[str, list[str]] = {}
    for name, text in facts(report):
        texts.setdefault(name, []).append(_files(report) if name == "files" else escape(text))
    rows = (f'<tr><th scope="row">{name}</th><td>{"<br>".join(lines)}</td></tr>' for name, lines in texts.items())
    return f'<table class="facts"><tbody>{"".join(rows)}</tbody></table>'


def _files(report: Report) -> str:
    sizes = report["model"]["files_bytes"].items()
    return ", ".join(
        [
            *(f"{link(name, name)}&nbsp;{megabytes(size).replace(' ', '&nbsp;')}" for name, size in sizes),
            link(JSON_FILE, JSON_FILE),
        ]
    )


def _errors(report: Report) -> str:
    parity = report["parity"]
    if parity["steps"] > 1:
        limit = (parity["atol"], f"atol {parity['atol']:.3g}")
        return log_lines(parity["max_abs_error_by_step"], "largest absolute error", "step", limit)
    worst = {row["output"]: [100 * row["share_of_tolerance"]] for row in parity["worst"]}
    return bars(["largest share of what is allowed"], worst, "%", full=100)


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
    return f"<section><h2>{escape(table.title)}</h2><p>{escape(table.text)}</p>{picture}{body}</section>"


def _table(table: Table) -> str:
    if not table.rows:
        return ""
    texts = {index: "text" for index, name in enumerate(table.columns) if name == "why"}
    classes = {0: "name"} | dict.fromkeys(table.numbers, "number") | texts
    shown = html_table(table.columns, ([escape(cell) for cell in row] for row in table.rows), classes)
    return f'<div class="many">{shown}</div>' if table.title == "Graph" else shown
