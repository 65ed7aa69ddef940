"""Charts as pictures, where matplotlib is installed."""

import base64
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from cuelight.server.recommender.quality.report import Chart

__all__ = ["HOW_TO_GET_PLOTS", "Plotter", "find_plotter"]

HOW_TO_GET_PLOTS = 'plots need matplotlib: pip install "cuelight[plots]"'

Plotter = Callable[[Chart], str]
"""From a chart to the address of its picture, which holds the picture itself."""

_MAX_UPRIGHT_CHARS = 60
"""Labels longer than that, all together, would run into each other."""


def find_plotter() -> Plotter | None:
    """Return what draws a chart, None where matplotlib is missing."""
    try:
        from matplotlib import rc_context  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ModuleNotFoundError:
        return None

    def plot(chart: Chart) -> str:
        figure = Figure(figsize=(7, 4 if chart.apart else 3), layout="constrained")
        if chart.apart:
            panels = figure.subplots(len(chart.series), 1, sharex=True)
            for axes, name in zip(panels, chart.series, strict=True):
                _draw(replace(chart, series={name: chart.series[name]}), axes)
                axes.label_outer()
        else:
            _draw(chart, figure.subplots())
        picture = io.BytesIO()
        with rc_context({"svg.fonttype": "none", "svg.hashsalt": chart.title}):  # the same chart, the same bytes
            figure.savefig(picture, format="svg", metadata={"Date": None})
        return f"data:image/svg+xml;base64,{base64.b64encode(picture.getvalue()).decode()}"

    return plot


def _draw(chart: Chart, axes: Any) -> None:
    places, width = np.arange(len(chart.rows)), 0.8 / len(chart.series)
    for i, (name, values) in enumerate(chart.series.items()):
        axes.bar(places - 0.4 + width * (i + 0.5), values, width, label=name)
    axes.set_xticks(places, chart.rows, rotation=0 if sum(map(len, chart.rows)) <= _MAX_UPRIGHT_CHARS else 90)
    axes.set_xlabel(chart.row_title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    if chart.mark is not None:
        axes.axvline(chart.mark.at - 0.5, color="black", linestyle="--", linewidth=1, label=chart.mark.text)
    if len(chart.series) == 1:
        axes.set_ylabel(next(iter(chart.series)))
    if len(chart.series) > 1 or chart.mark is not None:
        axes.legend(framealpha=0.85, edgecolor="none")
