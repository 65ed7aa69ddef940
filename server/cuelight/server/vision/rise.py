"""RISE: random masks over the image, and the mean probability under those that leave a place visible.

Rules of arrays, without model or clock; deterministic by seed. Source: Petsiuk, Das, Saenko, "RISE: Randomized Input
Sampling for Explanation of Black-box Models", 2018, equation 6 and section 3.2: a grid of 7 x 7 cells, each visible
with a probability of 0.5, enlarged bilinearly and shifted by a random part of a cell.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cuelight.server.vision.covering import mean_color, rounded_to
from cuelight.server.vision.preprocessing import Pixels

__all__ = ["RiseMap", "RiseMasks", "masked"]

_CELLS = 7
_VISIBLE = 0.5
_PLACE = 8
"""Pixels of the prepared image to a place of the map, along each axis; a small image has as many places as masks have
cells, where it has so many pixels."""

Masks = NDArray[np.float32]


class RiseMasks:
    """Draws masks, (count, height, width) float32 from 0 (covered) to 1. Owned by one explanation."""

    def __init__(self, height: int, width: int, seed: int) -> None:
        self._height = height
        self._width = width
        self._random = np.random.default_rng(seed)

    def draw(self, count: int) -> Masks:
        """Return the next masks: the same for the same seed, however they are cut into draws."""
        return np.stack([self._one() for _ in range(count)])

    def _one(self) -> Masks:
        cell_height, cell_width = -(-self._height // _CELLS), -(-self._width // _CELLS)
        cells = (self._random.random((_CELLS + 1, _CELLS + 1)) < _VISIBLE).astype(np.float32)
        down, across = self._random.integers(cell_height), self._random.integers(cell_width)
        size = ((_CELLS + 1) * cell_width, (_CELLS + 1) * cell_height)
        large = np.asarray(Image.fromarray(cells).resize(size, Image.Resampling.BILINEAR))
        mask: Masks = large[down : down + self._height, across : across + self._width]
        return mask


class RiseMap:
    """Adds up masks by their probabilities. Owned by one explanation."""

    def __init__(self, height: int, width: int) -> None:
        self._sum = np.zeros((height, width))
        self._visible = np.zeros((height, width))

    def add(self, masks: Masks, probabilities: NDArray[np.float64]) -> None:
        """Count masks, each with the class's probability under it."""
        self._sum += np.tensordot(probabilities, masks.astype(np.float64), 1)
        self._visible += masks.sum(axis=0, dtype=np.float64)

    def values(self) -> NDArray[np.float32]:
        """Return the mean probability where each place is visible, (rows, columns)."""
        height, width = self._sum.shape
        means = np.divide(self._sum, self._visible, out=np.zeros_like(self._sum), where=self._visible > 0)
        places = (_places(width), _places(height))
        return np.asarray(Image.fromarray(means.astype(np.float32)).resize(places, Image.Resampling.BOX))


def _places(size: int) -> int:
    return max(min(size, _CELLS), round(size / _PLACE))


def masked(pixels: Pixels, masks: Masks, channels_first: bool) -> Pixels:
    """Return the image under each mask: what is covered takes the image's own mean colour."""
    mean = mean_color(pixels, channels_first)
    shown = masks[:, None] if channels_first else masks[..., None]
    return rounded_to(pixels, mean + (pixels - mean)[None] * shown)
