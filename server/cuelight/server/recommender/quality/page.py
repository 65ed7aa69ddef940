"""The report as one HTML page that needs nothing beside it: no script, no font, no picture from elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from cuelight.server.recommender.quality.plots import HOW_TO_GET_PLOTS, Plotter
from cuelight.server.recommender.quality.report import Chart, Report
from cuelight.server.recommender.quality.terminal import FINDING_COLUMNS, finding_cells

__all__ = ["as_page"]

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 72rem; margin: 2rem auto;
  padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #ddd; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums }
tr.refused td:first-child { color: #a00; font-weight: bold } tr.check td:first-child { color: #850 }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1.5rem }
img { max-width: 100% } summary { cursor: pointer; color: #555 }
"""


def as_page(report: Report, places: Mapping[int, str], plotter: Plotter | None) -> str:
    """Return the page; without a plotter it has the charts' numbers alone, and says how to get plots."""
    title = f"Quality of {escape(report.title)}"
    hint = "" if plotter else f"<p>{escape(HOW_TO_GET_PLOTS)}</p>\n"
    charts = "\n".join(_chart(chart, plotter) for chart in report.charts)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f"{_figures(report)}\n<h2>Findings</h2>\n{_findings(report, places)}\n"
        f'<h2>Charts</h2>\n{hint}<div class="charts">\n{charts}\n</div>\n</body>\n</html>\n'
    )


def _figures(report: Report) -> str:
    rows = (
        f'<tr><th scope="row">{escape(figure.name)}</th><td>{escape(figure.text)}</td></tr>'
        for figure in report.figures
    )
    return _table((), rows)


def _findings(report: Report, places: Mapping[int, str]) -> str:
    if not report.findings:
        return "<p>Nothing found that needs a look.</p>"
    rows = (_row(finding_cells(f, places), (2, 3), f.level.value) for f in report.findings)
    return _table(FINDING_COLUMNS, rows)


def _chart(chart: Chart, plotter: Plotter | None) -> str:
    columns = (chart.row_title, *chart.series)
    numbers = zip(*chart.series.values(), strict=True)
    cells = ((name, *(f"{value:,.6g}" for value in of)) for name, of in zip(chart.rows, numbers, strict=True))
    marked = f"<p>{escape(chart.mark.text)}</p>" if chart.mark else ""
    table = f"{_table(columns, (_row(row, range(1, len(columns))) for row in cells))}{marked}"
    title = escape(chart.title)
    if plotter is None:
        return f"<section><h3>{title}</h3>{table}</section>"
    picture = f'<img src="{plotter(chart)}" alt="{title}: the numbers are in the table below">'
    return f"<section><h3>{title}</h3>{picture}<details><summary>numbers</summary>{table}</details></section>"


def _table(columns: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    return f"<table>{f'<thead><tr>{head}</tr></thead>' if head else ''}<tbody>{''.join(rows)}</tbody></table>"


def _row(cells: Sequence[str], numbers: Iterable[int], css_class: str = "") -> str:
    right = frozenset(numbers)
    marked = (f"<td{_class('number' if i in right else '')}>{escape(cell)}</td>" for i, cell in enumerate(cells))
    return f"<tr{_class(css_class)}>{''.join(marked)}</tr>"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""
