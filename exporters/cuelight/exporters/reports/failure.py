"""The page of an export that failed its parity: beside the models, since no version was written.

models/net.failed.html, net.failed.json      gone again when an export of the name succeeds
"""

import json
from pathlib import Path

from cuelight.exporters.parity import ParityError
from cuelight.exporters.reports.page import as_page
from cuelight.exporters.reports.report import Report, make_failed_report
from cuelight.exporters.spec import ExportSpec

__all__ = ["FAILED_JSON", "FAILED_PAGE", "forget_failure", "read_failures", "write_failure"]

FAILED_PAGE, FAILED_JSON = ".failed.html", ".failed.json"


def write_failure(spec: ExportSpec, name: str, error: ParityError, repository: Path, seed: int) -> Path:
    """Write the page, and the same as JSON, for the name in the repository; return the page's path."""
    report = make_failed_report(spec, name, error, seed)
    page = repository / f"{name}{FAILED_PAGE}"
    page.write_text(as_page(report), encoding="utf-8")
    (repository / f"{name}{FAILED_JSON}").write_text(json.dumps(report, indent=1), encoding="utf-8")
    return page


def forget_failure(name: str, repository: Path) -> None:
    """Remove the page of an earlier failure."""
    for ending in (FAILED_PAGE, FAILED_JSON):
        (repository / f"{name}{ending}").unlink(missing_ok=True)


def read_failures(repository: Path) -> list[Report]:
    """Return the reports of all failed exports, in the order of their names."""
    found = sorted(path for path in repository.glob(f"*{FAILED_JSON}") if path.is_file())
    return [json.loads(path.read_text(encoding="utf-8")) for path in found]
