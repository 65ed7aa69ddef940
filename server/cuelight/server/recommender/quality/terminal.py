"""The report in a terminal."""

from collections.abc import Mapping

from cuelight.server.recommender.importing.row_places import RowPlaces
from cuelight.server.recommender.quality.report import Finding, Report
from cuelight.server.table import format_table

__all__ = ["FINDING_COLUMNS", "as_text", "finding_cells", "places_of_findings"]

FINDING_COLUMNS = ("level", "finding", "count", "share", "first", "what to do")

_LEAST_SHOWN = 0.001


def as_text(report: Report, places: Mapping[int, str]) -> str:
    """Return figures and findings; `places` says in words where a row is."""
    width = max((len(figure.name) for figure in report.figures), default=0)
    lines = [f"quality of {report.title}", *(f"  {f.name:<{width}}  {f.text}" for f in report.figures)]
    if not report.findings:
        return "\n".join([*lines, "nothing found that needs a look"])
    return "\n".join([*lines, format_table(FINDING_COLUMNS, [finding_cells(f, places) for f in report.findings])])


def finding_cells(finding: Finding, places: Mapping[int, str]) -> tuple[str, ...]:
    """Return a finding as the texts of a row of `FINDING_COLUMNS`."""
    share = "" if finding.total is None else _percent(finding.count / finding.total)
    first = "" if finding.row is None else places[finding.row]
    return finding.level.value, finding.what, f"{finding.count:,}", share, first, finding.advice


def places_of_findings(report: Report, places: RowPlaces | None) -> dict[int, str]:
    """Return where the rows named by findings are in the file of interactions; None where there is none."""
    rows = {finding.row for finding in report.findings if finding.row is not None}
    return places.of(rows) if rows and places is not None else {}


def _percent(share: float) -> str:
    """Return a share above 0 so that it does not look like none."""
    return f"{share:.1%}" if share >= _LEAST_SHOWN else f"< {_LEAST_SHOWN:.1%}"
