"""`cuelight export report FOLDER`, the report of an export, and `cuelight export table`: in the terminal."""

from pathlib import Path
from typing import TYPE_CHECKING

from cuelight.exporters.errors import ExportError
from cuelight.exporters.reports.report import read_report

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["show_models", "show_report"]


def show_report(folder: Path) -> None:
    """Print the report of a version's folder, or of the newest version of a model's.

    Raises: ExportError when there is none, or rich is not installed.
    """
    console = _console()
    from cuelight.exporters.reports.terminal import print_report  # noqa: PLC0415 (needs rich)

    try:
        report = read_report(folder)
    except (OSError, ValueError) as error:
        raise ExportError(f"report: {error}") from error
    print_report(report, console)


def show_models(repository: Path, figures_file: Path | None, markdown: bool) -> None:
    """Print every registered model with the figures of a repository's reports, or of a file; as Markdown if asked.

    Raises: ExportError when the file has no figures, or rich is not installed and it is not Markdown.
    """
    from cuelight.exporters.registry import ALL_SPECS  # noqa: PLC0415 (torch takes seconds to import)
    from cuelight.exporters.reports import model_table  # noqa: PLC0415 (as above)
    from cuelight.exporters.reports.model_markdown import markdown_tables  # noqa: PLC0415 (as above)

    specs = tuple(ALL_SPECS.values())
    if figures_file is not None:
        figures = model_table.read_figures(figures_file)
    else:
        figures = model_table.figures_of(specs, repository)
    if markdown:
        print(markdown_tables(specs, figures))
        return
    console = _console()
    from cuelight.exporters.reports.terminal import print_table  # noqa: PLC0415 (needs rich)

    print_table(model_table.short_table(specs, figures), console)


def _console() -> "Console":
    try:
        from rich.console import Console  # noqa: PLC0415 (an extra: the page needs none)
    except ModuleNotFoundError as error:
        raise ExportError('report needs rich, which is not installed: pip install "cuelight[exporters]"') from error
    return Console()
