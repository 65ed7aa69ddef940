"""The tables of models as Markdown, narrow enough for the column of a README.

Cells are short: what does not fit is cut at its first comma, bracket or semicolon and stands whole in a footnote, one
for all cells that say the same.

    "BSD-3-Clause (weights), MIT (labels)"  ->  BSD-3-Clause, MIT&nbsp;<sup>4</sup>
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cuelight.exporters.files_spec import FilesSpec
from cuelight.exporters.reports.model_table import figures_table, models_table
from cuelight.exporters.spec import ExportSpec

__all__ = ["markdown_tables"]

_LONGEST = 32
_TRAINED_HERE = "trained by Cuelight"
_BRACKETS = re.compile(r" \([^)]*\)")
_LICENCE_END = re.compile("; ")
_WEIGHTS_END = re.compile(", ")

Spec = ExportSpec | FilesSpec


class _Footnotes:
    """Numbers texts in the order in which they are first asked for."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mark(self, text: str) -> str:
        """Return the mark of a text, the same for the same text; it stays on the line of what it marks."""
        return f"&nbsp;<sup>{self._numbers.setdefault(text, len(self._numbers) + 1)}</sup>"

    def lines(self) -> str:
        """Return all texts with their numbers."""
        return "<br>\n".join(f"<sup>{number}</sup> {text}" for text, number in self._numbers.items())


def markdown_tables(specs: Sequence[Spec], figures: Mapping[str, Any]) -> str:
    """Return both tables, then the footnotes; names are code and checks link to their tests."""
    notes = _Footnotes()
    models, measured = models_table(specs), figures_table(specs, figures)
    told = [_model_cells(spec, row, notes) for spec, row in zip(specs, models.rows, strict=True)]
    columns = ("model", *models.columns[2:])
    counted = [_figure_cells(row, notes) for row in measured.rows]
    names = (measured.columns[0], *measured.columns[2:-1])
    numbers = frozenset(index - 1 for index in measured.numbers)
    return "\n".join(
        [
            *(models.text, "", *_lines(columns, frozenset(), told), ""),
            *(measured.text, "", *_lines(names, numbers, counted), "", notes.lines()),
        ]
    )


def _model_cells(spec: Spec, row: Sequence[str], notes: _Footnotes) -> list[str]:
    name, task, architecture, weights, licence, check = row
    link = f"[{check}]({spec.check.test.partition('::')[0]})" if spec.check is not None else ""
    short = _TRAINED_HERE if weights.startswith(_TRAINED_HERE) else _cut(weights, _WEIGHTS_END)
    cells = (_noted(weights, short, notes), _noted(licence, _cut(licence, _LICENCE_END), notes))
    return [f"`{name}`<br>{task}", architecture, *cells, link]


def _figure_cells(row: Sequence[str], notes: _Footnotes) -> list[str]:
    name, axes, *cells, kept, measure = row
    mark = notes.mark(measure) if measure else ""
    about = f"`{name}`{'' if kept else mark}" + (f"<br>{axes}" if axes else "")
    return [about, *cells, kept + mark if kept else ""]


def _noted(whole: str, short: str, notes: _Footnotes) -> str:
    return whole if len(whole) <= _LONGEST else short if short == whole else short + notes.mark(whole)


def _cut(text: str, end: re.Pattern[str]) -> str:
    return end.split(_BRACKETS.sub("", text))[0]


def _lines(columns: Sequence[str], numbers: frozenset[int], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = "".join("--:|" if index in numbers else "---|" for index in range(len(columns)))
    return [f"| {' | '.join(columns)} |", f"|{rule}", *(f"| {' | '.join(row)} |" for row in rows)]
