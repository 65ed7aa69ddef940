"""`cuelight export report FOLDER`: the report of an export, in the terminal."""

from pathlib import Path

from cuelight.exporters.errors import ExportError
from cuelight.exporters.reports.report import read_report

__all__ = ["show_report"]


def show_report(folder: Path) -> None:
    """Print the report of a version's folder, or of the newest version of a model's.

    Raises: ExportError when there is none, or rich is not installed.
    """
    try:
        from rich.console import Console  # noqa: PLC0415 (an extra: the page needs none)

        from cuelight.exporters.reports.terminal import print_report  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ExportError('report needs rich, which is not installed: pip install "cuelight[exporters]"') from error
    try:
        report = read_report(folder)
    except (OSError, ValueError) as error:
        raise ExportError(f"report: {error}") from error
    print_report(report, Console())
