"""Attention weights as a picture: a heat map with the tokens at its sides. Needs Pillow (`cuelight[vision]`).

Drawn by the caller, out of the weights: the server sends numbers and needs no library for pictures. White is 0; each
panel's darkest cell is its largest weight.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["HeatMap", "PictureMissing", "attention_maps", "draw"]

Weights = NDArray[np.float32]

_CELL = 22
_FONT_SIZE = 13
_MARGIN = 10
_DARK = np.array([8, 48, 107], np.float64)
_WHITE = np.array([255, 255, 255], np.float64)
_BACKGROUND = (255, 255, 255)
_INK = (30, 30, 30)
_ZERO_INK = (200, 200, 200)


class PictureMissing(Exception):
    """Pillow is not installed; the message says how to get it."""


@dataclass(frozen=True, slots=True, eq=False)
class HeatMap:
    """One panel: `weights` (rows, columns) from 0 on, a label for each row and column, and a title."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    weights: Weights


def attention_maps(tokens: Sequence[str], layers: Sequence[int], weights: Weights) -> list[HeatMap]:
    """Return a panel for each layer and head of (layers, heads, tokens, tokens); one head is called the mean."""
    heads = weights.shape[1]
    return [
        HeatMap(f"layer {layer}, {f'head {head}' if heads > 1 else 'mean of heads'}", tokens, tokens, weights[at, head])
        for at, layer in enumerate(layers)
        for head in range(heads)
    ]


def draw(maps: Sequence[HeatMap], across: int = 0) -> bytes:
    """Return the panels as one PNG, `across` side by side (default: as near to a square as can be).

    Raises: PictureMissing without Pillow; ValueError for no panel, or one whose weights and labels do not fit.
    """
    if not maps:
        raise ValueError("expected at least one panel to draw")
    for panel in maps:
        if panel.weights.shape != (len(panel.rows), len(panel.columns)):
            raise ValueError(
                f"{panel.title}: expected weights ({len(panel.rows)}, {len(panel.columns)}), got {panel.weights.shape}"
            )
    pillow = _pillow()
    drawn = [_panel(pillow, panel) for panel in maps]
    across = across or max(1, round(len(maps) ** 0.5))
    wide, high = max(one.width for one in drawn), max(one.height for one in drawn)
    lines = -(-len(drawn) // across)
    picture = pillow.image.new("RGB", (wide * min(across, len(drawn)), high * lines), _BACKGROUND)
    for place, one in enumerate(drawn):
        picture.paste(one, (place % across * wide, place // across * high))
    out = BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class _Pillow:
    image: Any
    draw: Any
    font: Any

    def width(self, text: str) -> int:
        left, _, right, _ = self.font.getbbox(text)
        return int(np.ceil(right - left))


def _pillow() -> _Pillow:
    try:
        from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 (the base install does without)
    except ModuleNotFoundError as error:
        raise PictureMissing('drawing needs Pillow: pip install "cuelight[vision]"') from error
    return _Pillow(Image, ImageDraw, ImageFont.load_default(_FONT_SIZE))


def _panel(pillow: _Pillow, panel: HeatMap) -> Any:
    """Draw the columns' labels upright above, the rows' labels to the left."""
    left = _MARGIN + max(map(pillow.width, panel.rows), default=0) + _MARGIN // 2
    labels_high = max(map(pillow.width, panel.columns), default=0) + _MARGIN
    top = _MARGIN + _FONT_SIZE + _MARGIN + labels_high
    cells = pillow.image.fromarray(_colours(panel.weights)).resize(
        (len(panel.columns) * _CELL, len(panel.rows) * _CELL), pillow.image.Resampling.NEAREST
    )
    wide = max(left + cells.width + _MARGIN, pillow.width(panel.title) + 2 * _MARGIN)
    picture = pillow.image.new("RGB", (wide, top + cells.height + _MARGIN), _BACKGROUND)
    pen = pillow.draw.Draw(picture)
    pen.text((_MARGIN, _MARGIN), panel.title, _INK, pillow.font)
    picture.paste(cells, (left, top))
    pen.rectangle((left - 1, top - 1, left + cells.width, top + cells.height), outline=_ZERO_INK)
    down = (_CELL - _FONT_SIZE) // 2
    for row, label in enumerate(panel.rows):
        pen.text((left - _MARGIN // 2 - pillow.width(label), top + row * _CELL + down - 1), label, _INK, pillow.font)
    for column, label in enumerate(panel.columns):
        picture.paste(_upright(pillow, label, labels_high), (left + column * _CELL + down - 1, top - labels_high - 2))
    return picture


def _upright(pillow: _Pillow, label: str, length: int) -> Any:
    """Return a label that reads upwards and ends where the cells begin."""
    lying = pillow.image.new("RGB", (length, _FONT_SIZE + 4), _BACKGROUND)
    pillow.draw.Draw(lying).text((2, 0), label, _INK, pillow.font)
    return lying.transpose(pillow.image.Transpose.ROTATE_90)


def _colours(weights: Weights) -> NDArray[np.uint8]:
    """Return (rows, columns, 3): from white at 0 to the darkest at the largest weight."""
    largest = float(weights.max(initial=0.0))
    share = (weights / largest if largest > 0 else np.zeros_like(weights))[..., np.newaxis]
    return np.round(_WHITE + share * (_DARK - _WHITE)).astype(np.uint8)
