"""Plots as SVG text, drawn here so that the page needs no picture, script or library beside it."""

import math
from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["bars", "log_lines"]

_WIDTH = 560
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 12, 34
_COLOURS = ("#1f6fb4", "#d1651b", "#3a8f3a", "#8a4fb0", "#7a7a2a", "#a03050")
_SMALLEST = 1e-12
"""Errors of zero are drawn here: a logarithm has no place for them."""


def bars(groups: Sequence[str], series: Mapping[str, Sequence[float]], unit: str) -> str:
    """Return bars side by side, a group a label and a bar a series, from zero up; the values stand above them."""
    height = 220
    top = max((max(values, default=0.0) for values in series.values()), default=0.0) or 1.0
    inner_width, inner_height = _WIDTH - _LEFT - _RIGHT, height - _TOP - _BOTTOM
    group_width = inner_width / max(1, len(groups))
    bar_width = group_width * 0.8 / max(1, len(series))
    parts = [_text(_LEFT - 6, _TOP + 10, unit, "end")]
    for number, (name, values) in enumerate(series.items()):
        for index, value in enumerate(values):
            x = _LEFT + index * group_width + group_width * 0.1 + number * bar_width
            tall = inner_height * value / top
            y = _TOP + inner_height - tall
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{bar_width * 0.92:.1f}" height="{tall:.1f}" '
                f'fill="{_COLOURS[number % len(_COLOURS)]}"><title>{escape(name)}: {value:.4g} {escape(unit)}'
                "</title></rect>"
            )
            parts.append(_text(x + bar_width / 2, y - 3, f"{value:.3g}", "middle"))
    for index, group in enumerate(groups):
        parts.append(_text(_LEFT + (index + 0.5) * group_width, height - _BOTTOM + 14, group, "middle"))
    return _svg(height, parts, list(series))


def log_lines(series: Mapping[str, Sequence[float]], x_title: str, limit: float | None = None) -> str:
    """Return a line a series over 0, 1, 2 and so on, its values on a logarithmic axis; `limit` is drawn dashed."""
    height = 240
    values = [max(value, _SMALLEST) for line in series.values() for value in line if math.isfinite(value)]
    values += [limit] if limit else []
    low = math.floor(math.log10(min(values, default=_SMALLEST)))
    high = max(low + 1, math.ceil(math.log10(max(values, default=1.0))))
    longest = max((len(line) for line in series.values()), default=1)

    def place(index: int, value: float) -> tuple[float, float]:
        share = (math.log10(min(max(value, 10.0**low), 10.0**high)) - low) / (high - low)
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * index / max(1, longest - 1)
        return x, _TOP + (height - _TOP - _BOTTOM) * (1 - share)

    parts = []
    for power in range(low, high + 1, max(1, (high - low) // 6)):
        y = place(0, 10.0**power)[1]
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(_text(_LEFT - 6, y + 4, f"1e{power}", "end"))
    if limit:
        y = place(0, limit)[1]
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#a00" '
            'stroke-dasharray="5 4"/>'
        )
    for number, (name, line) in enumerate(series.items()):
        points = " ".join("{:.1f},{:.1f}".format(*place(index, value)) for index, value in enumerate(line))
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}"><title>{escape(name)}</title></polyline>'
        )
    parts.append(_text((_LEFT + _WIDTH) / 2, height - _BOTTOM + 14, f"{x_title} 0 to {longest - 1}", "middle"))
    return _svg(height, parts, list(series))


def _svg(height: int, parts: Sequence[str], legend: Sequence[str]) -> str:
    entries, x = [], float(_LEFT)
    for number, name in enumerate(legend):
        colour = _COLOURS[number % len(_COLOURS)]
        entries.append(f'<rect x="{x:.0f}" y="{height - 12}" width="9" height="9" fill="{colour}"/>')
        entries.append(_text(x + 13, height - 4, name, "start"))
        x += 26 + 6.6 * len(name)
    body = "".join([*parts, *entries])
    wide = max(_WIDTH, math.ceil(x))
    return f'<svg viewBox="0 0 {wide} {height}" width="{wide}" height="{height}" role="img">{body}</svg>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="11" text-anchor="{anchor}" fill="#333">{escape(text)}</text>'
