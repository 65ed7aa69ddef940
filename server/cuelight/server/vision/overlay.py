"""A map drawn over its image, as a PNG: what speaks for the class glows, what the model was not shown is darkened."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cuelight.server.vision.preprocessing import Region

__all__ = ["Overlay", "overlay_png", "reduced"]

_ANCHORS = (
    (0.0, (0, 0, 80)),
    (0.25, (80, 0, 160)),
    (0.5, (220, 30, 80)),
    (0.75, (255, 140, 0)),
    (1.0, (255, 255, 120)),
)
"""From least to most: dark blue, violet, red, orange, yellow; brightness grows all the way, so it reads in gray too."""
_STRONGEST = 0.75
"""How much of the picture the strongest place covers."""
_DARKENED = 0.35
_ROWS_AT_ONCE = 16
"""Drawn together: their numbers fit into a core's cache, and the whole picture's would take 30 times its memory."""
_COMPRESSION = 3
"""Of 9; the usual 6 takes two and a half times as long for a fifth less."""

Pixels = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Overlay:
    """What to draw: a map, (rows, columns), of which only what is above `zero` is shown, and where it lies."""

    values: Pixels
    zero: float
    region: Region
    whole: tuple[int, int]
    """The size of the picture itself, (width, height), in whose pixels the region is told."""


def reduced(picture: Image.Image, longest: int) -> Image.Image:
    """Return a picture with a longer side of at most so many pixels; a smaller one as it is."""
    scale = min(1.0, longest / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BILINEAR)


def overlay_png(picture: Image.Image, overlay: Overlay) -> bytes:
    """Return the picture, RGB and as large as the drawing is to be, with the map over it as PNG."""
    base = np.asarray(picture)
    glow, shown = _laid_out(overlay, max(picture.size) / max(overlay.whole), picture.size)
    drawn = np.empty_like(base)
    for top in range(0, len(base), _ROWS_AT_ONCE):
        rows = slice(top, top + _ROWS_AT_ONCE)
        drawn[rows] = _lit(base[rows].astype(np.float32), glow[rows], shown[rows])
    file = io.BytesIO()
    Image.fromarray(drawn).save(file, "PNG", compress_level=_COMPRESSION)
    return file.getvalue()


def _lit(base: Pixels, glow: Pixels, shown: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return rows of the picture, (rows, width, 3), with the map over them."""
    gray = base.mean(axis=2, keepdims=True)
    muted = 0.5 * base + 0.5 * gray
    strength = (_STRONGEST * glow)[..., None]
    lit = muted * (1 - strength) + _colors(glow) * strength
    drawn = np.where(shown[..., None], lit, base * _DARKENED)
    rounded: NDArray[np.uint8] = np.rint(drawn.clip(0, 255)).astype(np.uint8)
    return rounded


def _laid_out(overlay: Overlay, scale: float, size: tuple[int, int]) -> tuple[Pixels, NDArray[np.bool_]]:
    """Return the map, 0 to 1, at the size of the drawing, and which of its pixels the model was shown."""
    region = overlay.region
    left, top = round(region.left * scale), round(region.top * scale)
    width, height = max(1, round(region.width * scale)), max(1, round(region.height * scale))
    above = np.maximum(overlay.values - overlay.zero, 0)
    highest = float(above.max())
    relative = (above / highest if highest > 0 else above).astype(np.float32)
    whole = Image.fromarray(relative).resize((width, height), Image.Resampling.BICUBIC)
    box = (-left, -top, size[0] - left, size[1] - top)
    glow = np.asarray(whole.crop(box), np.float32).clip(0, 1)
    shown = np.asarray(Image.new("1", (width, height), 1).crop(box), bool)
    return glow, shown


def _colors(values: Pixels) -> Pixels:
    """Return the colours of values from 0 to 1, (height, width, 3)."""
    at = [place for place, _ in _ANCHORS]
    channels = [np.interp(values, at, [color[channel] for _, color in _ANCHORS]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)
