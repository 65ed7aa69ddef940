"""Figures for people: a table in text or Markdown, and a plot."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.evaluation.protocol import Figures
from cuelight.server.recommender.quality.plots import HOW_TO_GET_PLOTS
from cuelight.server.table import format_table

__all__ = ["as_markdown", "as_table", "check_picture", "plot"]

_HEADER = (
    *(
        "model",
        "nDCG@10",
        "Recall@20",
        "coverage@10",
        "diversity@10",
        "novelty@10",
        "cold recall@20",
        "fit",
        "rank all",
    ),
)


def as_table(figures: Sequence[Figures]) -> str:
    """Return the figures of one split, a model a line."""
    return f"{_title(figures)}\n{format_table(_HEADER, [_row(figure) for figure in figures])}"


def as_markdown(figures: Sequence[Figures]) -> str:
    """Return the same for a document."""
    lines = [_HEADER, ("---",) * len(_HEADER), *(_row(figure) for figure in figures)]
    return f"{_title(figures)}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def check_picture(path: Path) -> None:
    """Say before minutes are spent on figures that they could not be drawn.

    Raises: ConfigError when matplotlib is not installed, its ending is no format, or its folder is missing.
    """
    kinds = sorted(_figure_class()().canvas.get_supported_filetypes())
    if path.suffix.removeprefix(".").lower() not in kinds:
        raise ConfigError(f"--plot {path}: expected a name ending in one of .{', .'.join(kinds)}")
    if not path.parent.is_dir():
        raise ConfigError(f"--plot {path}: no such folder: {path.parent}")


def plot(figures: Sequence[Figures], path: Path) -> None:
    """Draw accuracy beside coverage, a bar a model, into a file whose ending names its format.

    Raises: ConfigError as `check_picture`, or when the file cannot be written.
    """
    drawing = _figure_class()(figsize=(10, 0.4 * len(figures) + 1.5), layout="constrained")
    names = [figure.model for figure in figures]
    panels = (
        ("nDCG@10", [figure.ndcg_10 for figure in figures]),
        ("Recall@20", [figure.recall_20 for figure in figures]),
        ("coverage@10", [figure.coverage_10 for figure in figures]),
    )
    for axes, (title, values) in zip(drawing.subplots(1, len(panels), sharey=True), panels, strict=True):
        bars = axes.barh(names, values)
        axes.bar_label(bars, fmt="%.3f", padding=3)
        axes.set_title(title)
        axes.set_xlim(0, max(values) * 1.25 or 1)
        axes.invert_yaxis()
    drawing.suptitle(_title(figures))
    try:
        drawing.savefig(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot write the plot: {error.strerror}") from error


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(f"--plot: {HOW_TO_GET_PLOTS}") from error
    return Figure


def _title(figures: Sequence[Figures]) -> str:
    return f"{figures[0].split}, {figures[0].users} users" if figures else "no models"


def _row(figures: Figures) -> tuple[str, ...]:
    quality = (figures.ndcg_10, figures.recall_20, figures.coverage_10, figures.diversity_10)
    cold = "-" if figures.cold_recall_20 != figures.cold_recall_20 else f"{figures.cold_recall_20:.4f}"
    return (
        figures.model,
        *(f"{value:.4f}" for value in quality),
        f"{figures.novelty_10:.2f} bits",
        cold,
        f"{figures.fit_s:.2f} s",
        f"{figures.score_s:.2f} s",
    )
