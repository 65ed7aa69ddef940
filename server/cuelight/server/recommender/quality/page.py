"""The report as one HTML page that needs nothing beside it: no script, no font, no picture from elsewhere."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from cuelight.server.recommender.quality.plots import HOW_TO_GET_PLOTS, Plotter
from cuelight.server.recommender.quality.report import Chart, Level, Report
from cuelight.server.recommender.quality.terminal import FINDING_COLUMNS, finding_cells

__all__ = ["as_page"]

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_STYLE = """
:root { color-scheme: light dark; --text: #1d2126; --soft: #566069; --page: #fff; --line: #d5dbe1; --link: #0a58c2;
  --refused: #b3141b; --check: #8a5300; --good: #1a7333 }
@media (prefers-color-scheme: dark) { :root { --text: #e4e8ec; --soft: #a3adb8; --page: #14181c; --line: #38414a;
  --link: #7db4f5; --refused: #ff7b7b; --check: #f0b24e; --good: #62c46e } }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page); max-width: 72rem;
  margin: 0 auto; padding: 1.5rem 1rem 3rem; overflow-wrap: anywhere }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 } .verdict { font-weight: 600; margin: .4rem 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 } .scroll { overflow-x: auto }
th, td { text-align: left; padding: .25rem 1rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
th[scope=row], td.number { white-space: nowrap } .scroll th, .scroll td { overflow-wrap: normal }
.findings td:nth-child(5) { white-space: nowrap }
thead th { color: var(--soft) } th.number, td.number { text-align: right; font-variant-numeric: tabular-nums }
tr.refused td:first-child, .verdict.refused { color: var(--refused); font-weight: 600 }
tr.check td:first-child, .verdict.check { color: var(--check); font-weight: 600 } .verdict.note { color: var(--good) }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1.5rem }
.charts section { min-width: 0 }
img { max-width: 100%; background: #fff; border-radius: .4rem } summary { cursor: pointer; color: var(--link) }
@media (max-width: 40rem) { .findings thead { display: none } .findings td:empty { display: none }
  .findings tr { display: flex; flex-wrap: wrap; gap: 0 .8rem; padding: .5rem 0; border-bottom: 1px solid var(--line) }
  .findings td { border: 0; padding: 0 } .findings td:nth-child(2) { flex: 1 0 calc(100% - 5rem) }
  .findings td:nth-child(3)::before { content: "count " } .findings td:last-child { flex: 1 0 100% } }
@media (max-width: 32rem) { body { font-size: 15px } th, td { padding-right: .7rem } }
@media print { section, tr { break-inside: avoid } .scroll { overflow: visible } }
"""


def as_page(report: Report, places: Mapping[int, str], plotter: Plotter | None) -> str:
    """Return the page; without a plotter it has the charts' numbers alone, and says how to get plots."""
    title = f"Quality of {escape(report.title)}"
    hint = "" if plotter else f"<p>{escape(HOW_TO_GET_PLOTS)}</p>\n"
    charts = "\n".join(_chart(chart, plotter) for chart in report.charts)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f"{_verdict(report)}\n{_figures(report)}\n<h2>Findings</h2>\n{_findings(report, places)}\n"
        f'<h2>Charts</h2>\n{hint}<div class="charts">\n{charts}\n</div>\n</body>\n</html>\n'
    )


def _verdict(report: Report) -> str:
    """Return how many findings there are of each level, in the colour of the gravest."""
    counts = Counter(finding.level for finding in report.findings)
    words = {Level.REFUSED: "refused", Level.CHECK: "to check", Level.NOTE: "to know"}
    told = ", ".join(f"{counts[level]} {word}" for level, word in words.items() if counts[level])
    gravest = next((level for level in words if counts[level]), Level.NOTE)
    return f'<p class="verdict {gravest.value}">Findings: {told or "none"}</p>'


def _figures(report: Report) -> str:
    rows = (
        f'<tr><th scope="row">{escape(figure.name)}</th><td>{escape(figure.text)}</td></tr>'
        for figure in report.figures
    )
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def _findings(report: Report, places: Mapping[int, str]) -> str:
    if not report.findings:
        return "<p>Nothing found that needs a look.</p>"
    rows = (_row(finding_cells(f, places), (2, 3), f.level.value) for f in report.findings)
    return f'<div class="findings">{_table(FINDING_COLUMNS, rows, (2, 3))}</div>'


def _chart(chart: Chart, plotter: Plotter | None) -> str:
    columns = (chart.row_title, *chart.series)
    numbers = zip(*chart.series.values(), strict=True)
    cells = ((name, *(f"{value:,.6g}" for value in of)) for name, of in zip(chart.rows, numbers, strict=True))
    marked = f"<p>{escape(chart.mark.text)}</p>" if chart.mark else ""
    numbered = range(1, len(columns))
    table = f"{_table(columns, (_row(row, numbered) for row in cells), numbered)}{marked}"
    title = escape(chart.title)
    if plotter is None:
        return f"<section><h3>{title}</h3>{table}</section>"
    picture = f'<img src="{plotter(chart)}" alt="{title}: the numbers are in the table below">'
    return f"<section><h3>{title}</h3>{picture}<details><summary>numbers</summary>{table}</details></section>"


def _table(columns: Iterable[str], rows: Iterable[str], numbers: Iterable[int]) -> str:
    right = frozenset(numbers)
    head = "".join(
        f'<th scope="col"{_class("number" if i in right else "")}>{escape(name)}</th>' for i, name in enumerate(columns)
    )
    body = "".join(rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _row(cells: Sequence[str], numbers: Iterable[int], css_class: str = "") -> str:
    right = frozenset(numbers)
    marked = (f"<td{_class('number' if i in right else '')}>{escape(cell)}</td>" for i, cell in enumerate(cells))
    return f"<tr{_class(css_class)}>{''.join(marked)}</tr>"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""
