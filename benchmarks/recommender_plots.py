"""The figures of a run over the recommender as plots, one panel a question."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["plot"]

_COLOURS = {"grpcio": "C1", "envoy": "C0", "pgvector": "0.35", "pgvector_good": "0.6", "chroma": "0.8"}
_LABELS = {
    "grpcio": "Cuelight,\ngrpcio",
    "envoy": "Cuelight,\nenvoy",
    "pgvector": "pgvector\nas it comes",
    "pgvector_good": "pgvector\nfurther",
    "chroma": "Chroma",
}
_FRONTS = ("grpcio", "envoy")
_COLUMNS = 2
_MANY = 32

Panel = Any
"""Matplotlib's Axes."""


def plot(result: Mapping[str, Any], path: Path) -> None:
    """Draw what the run has: rates and latencies of vector queries, EASE by load, interactions, fits."""
    import matplotlib as mpl  # noqa: PLC0415 (slow to import)

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    drawings: list[Callable[[Panel], None]] = []
    for part in (*result.get("vectors", ()), *result.get("million", ())):
        drawings += [_of(_draw_rates, part), _of(_draw_latencies, part)]
    if "likes" in result:
        drawings += [_of(_draw_ease, result["likes"]), _of(_draw_meanwhile, result["likes"])]
    if "fit" in result:
        drawings.append(_of(_draw_fits, result["fit"]))
    rows = -(-len(drawings) // _COLUMNS)
    figure, panels = pyplot.subplots(rows, _COLUMNS, figsize=(11, 3.8 * rows), layout="constrained", squeeze=False)
    for panel, draw in zip(panels.flat, drawings, strict=False):
        draw(panel)
        panel.set_title(panel.get_title(), fontsize=10)
        panel.grid(alpha=0.3, axis="y")
        panel.set_axisbelow(True)
    for panel in list(panels.flat)[len(drawings) :]:
        panel.set_axis_off()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _of(draw: Callable[[Panel, Mapping[str, Any]], None], part: Mapping[str, Any]) -> Callable[[Panel], None]:
    return lambda panel: draw(panel, part)


def _draw_rates(panel: Panel, part: Mapping[str, Any]) -> None:
    """Queries a second with many at a time; over each bar its ratio to pgvector and its recall."""
    systems = next(one["systems"] for one in part["calls"] if one["calls"] == _MANY)
    peer = systems.get("pgvector")
    for place, (name, one) in enumerate(systems.items()):
        panel.bar(place, one["per_s"], color=_COLOURS[name])
        ratio = f"{one['per_s'] / peer['per_s']:.1f} x\n" if peer else ""
        text = f"{ratio}recall {part['about'][name]['recall']:.3f}"
        panel.annotate(text, (place, one["per_s"]), ha="center", va="bottom", fontsize=8)
    panel.set_xticks(range(len(systems)), [_LABELS[name] for name in systems], fontsize=8)
    panel.margins(y=0.2)
    panel.set(ylabel="queries a second", title=f"{part['rows']:,} {part['data']} vectors of 64, {_MANY} at a time")


def _draw_latencies(panel: Panel, part: Mapping[str, Any]) -> None:
    """Median and 99th percentile, one at a time and many."""
    labels: list[str] = []
    for calls in part["calls"]:
        for name, one in calls["systems"].items():
            panel.bar(len(labels), one["p99_ms"], color=_COLOURS[name], alpha=0.35)
            panel.bar(len(labels), one["p50_ms"], color=_COLOURS[name])
            label = _LABELS[name].replace("\n", " ")
            labels.append(f"{label}, {calls['calls']}")
    panel.set_yscale("log")
    panel.set_xticks(range(len(labels)), labels, rotation=40, ha="right", fontsize=7)
    panel.set(ylabel="ms", title=f"{part['rows']:,} {part['data']}: p50, and p99 in pale, by calls at a time")


def _draw_ease(panel: Panel, likes: Mapping[str, Any]) -> None:
    """Latency of EASE's shelves by calls at a time."""
    for front in _FRONTS:
        for explain, style in ((False, "-"), (True, ":")):
            found = [one for one in likes["shelves"] if one["model"] == "ease" and one["explain"] == explain]
            counts = [one["calls"] for one in found]
            label = f"{front}{', with reasons' if explain else ''}"
            for key, marker in (("p50_ms", "o"), ("p99_ms", "x")):
                values = [one["systems"][front][key] for one in found]
                panel.plot(counts, values, style, marker=marker, color=_COLOURS[front], label=f"{label}, {key[:3]}")
    panel.set(xscale="log", yscale="log", xlabel="calls at a time", ylabel="ms", title="EASE: latency of shelves")
    panel.set_xticks([1, 8, 32], ["1", "8", "32"])
    panel.legend(fontsize=7)


def _draw_meanwhile(panel: Panel, likes: Mapping[str, Any]) -> None:
    """Latency of EASE's shelves while interactions are recorded."""
    ordered = [likes["sustained"][-1], *likes["sustained"][:-1]]
    for place, one in enumerate(ordered):
        for front, shift in zip(_FRONTS, (-0.2, 0.2), strict=True):
            figures = one[front]
            panel.bar(place + shift, figures["shelf_p99_ms"], 0.38, color=_COLOURS[front], alpha=0.35)
            panel.bar(place + shift, figures["shelf_p50_ms"], 0.38, color=_COLOURS[front])
            text = f"{figures['events_per_s']:,.0f}/s" if figures["events_per_s"] else ""
            top = max(figures["shelf_p99_ms"], figures["shelf_p50_ms"])
            panel.annotate(text, (place + shift, top), ha="center", va="bottom", fontsize=7)
    panel.set_yscale("log")
    panel.set_xticks(range(len(ordered)), [one["how"].replace(", ", ",\n") for one in ordered], fontsize=7)
    panel.set(ylabel="ms", title="EASE's shelves while interactions come: p50, and p99 in pale")


def _draw_fits(panel: Panel, fit: Mapping[str, Any]) -> None:
    """Fit times."""
    names = list(fit["models"])
    taken_s = [fit["models"][name]["fit_s"] for name in names]
    bars = panel.barh(names, taken_s, color="C0")
    panel.bar_label(bars, [f"{one:.2f} s" for one in taken_s], fontsize=8, padding=3)
    panel.margins(x=0.15)
    panel.invert_yaxis()
    panel.set(xlabel="s", title=f"MovieLens 100K: fits, {fit['all_s']:.1f} s together")
