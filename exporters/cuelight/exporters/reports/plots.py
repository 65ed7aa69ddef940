"""Plots as HTML and SVG text, drawn here so that the page needs no picture, script or library beside it.

Bars are plain elements, so their words stay as large as the text around them on a narrow screen; colours are those of
the page's sheet, by the number of the series.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

__all__ = ["bars", "log_lines"]

_WIDTH, _HEIGHT = 480, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 20, 40
_COLOURS = 6
_MARKED_STEPS = 40
"""Up to so many steps each has its dot."""
_THOUSAND = 1000

Points = list[tuple[float, float]]


def bars(groups: Sequence[str], series: Mapping[str, Sequence[float]], unit: str, full: float = 0.0) -> str:
    """Return bars from zero on below each other, under the name of their group, each with its value and unit.

    The widest is the largest value, or `full` where that is more.
    """
    finite = [value for values in series.values() for value in values if math.isfinite(value)]
    top = max((full, *finite)) or 1.0
    lines = []
    for index, group in enumerate(groups):
        lines.append(f"<b>{escape(group)}</b>")
        for number, (name, values) in enumerate(series.items()):
            wide = 100 * min(values[index] / top, 1.0)
            lines.append(
                f'<span>{escape(name)}</span><span class="track"><i style="width:{wide:.1f}%;'
                f'background:var(--s{number % _COLOURS})"></i></span>'
                f'<span class="value">{_short(values[index])} {escape(unit)}</span>'
            )
    return f'<div class="bars">{"".join(lines)}</div>'


def log_lines(series: Mapping[str, Sequence[float]], y_title: str, x_title: str, limit: tuple[float, str]) -> str:
    """Return a line a series over 0, 1, 2 and so on, its values on a logarithmic axis.

    `limit` is drawn dashed, with its words. Zeros have no place on such an axis: the legend says where all are.
    """
    shown = {name: line for name, line in series.items() if any(line)}
    low, high = _decades([*(value for line in shown.values() for value in line), limit[0]])
    longest = max((len(line) for line in series.values()), default=1)
    parts = [*_grid(low, high), *_limit(limit, low, high), *_steps(longest, x_title)]
    for number, line in enumerate(shown.values()):
        parts += _line(line, longest, low, high, f"var(--s{number % _COLOURS})")
    parts.append(_text(2, 10, y_title, "start"))
    picture = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(y_title)}">{"".join(parts)}</svg>'
    exact = [name for name in series if name not in shown]
    return f"<figure>{picture}<figcaption>{_legend(shown, exact)}</figcaption></figure>"


def _decades(values: Iterable[float]) -> tuple[int, int]:
    logs = [math.log10(value) for value in values if value > 0 and math.isfinite(value)] or [0.0]
    low = math.floor(min(logs))
    return low, max(low + 1, math.ceil(max(logs)))


def _y(value: float, low: int, high: int) -> float:
    share = (math.log10(min(max(value, 10.0**low), 10.0**high)) - low) / (high - low)
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - share)


def _x(index: int, longest: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * index / max(1, longest - 1)


def _grid(low: int, high: int) -> Iterator[str]:
    for power in range(low, high + 1, math.ceil((high - low) / 6)):
        y = _y(10.0**power, low, high)
        yield _rule(y, "var(--line)")
        yield _text(_LEFT - 6, y + 4, f"1e{power}", "end")


def _limit(limit: tuple[float, str], low: int, high: int) -> Iterator[str]:
    value, words = limit
    if value > 0 and math.isfinite(value):
        y = _y(value, low, high)
        yield _rule(y, "var(--limit)", ' stroke-dasharray="6 4"')
        yield _text(_WIDTH - _RIGHT, y + 15 if y < _TOP + 15 else y - 5, words, "end", "var(--limit)")


def _steps(longest: int, x_title: str) -> Iterator[str]:
    for index in sorted({0, (longest - 1) // 2, longest - 1}):
        yield _text(_x(index, longest), _HEIGHT - _BOTTOM + 16, str(index), "middle")
    yield _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, x_title, "middle")


def _line(line: Sequence[float], longest: int, low: int, high: int, colour: str) -> Iterator[str]:
    for run in _runs([(_x(index, longest), value) for index, value in enumerate(line)]):
        places = [(x, _y(value, low, high)) for x, value in run]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        yield f'<polyline points="{points}" fill="none" style="stroke:{colour}" stroke-width="2"/>'
        if longest <= _MARKED_STEPS:
            yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" style="fill:{colour}"/>' for x, y in places)


def _runs(points: Points) -> Iterator[Points]:
    """Yield the stretches of a line that are above zero."""
    run: Points = []
    for point in points:
        if point[1] > 0:
            run.append(point)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _legend(shown: Iterable[str], exact: Iterable[str]) -> str:
    lines = [
        f'<span><i style="background:var(--s{number % _COLOURS})"></i>{escape(name)}</span>'
        for number, name in enumerate(shown)
    ]
    lines += [f"<span>{escape(name)}: no error at any step</span>" for name in exact]
    return f'<div class="legend">{"".join(lines)}</div>'


def _rule(y: float, colour: str, more: str = "") -> str:
    return f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" style="stroke:{colour}"{more}/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = "") -> str:
    style = f' style="fill:{colour}"' if colour else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="12" text-anchor="{anchor}"{style}>{escape(text)}</text>'


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= _THOUSAND else f"{value:.3g}"
