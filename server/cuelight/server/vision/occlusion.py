"""Occlusion: what a model loses when a place of the image is covered. Rules of arrays, without model or clock.

Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014, section 4.2: a square of even
colour is moved over the image, and the probability of the class is noted for each of its positions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cuelight.server.vision.covering import mean_color, rounded_to
from cuelight.server.vision.preprocessing import Pixels

__all__ = ["OcclusionGrid", "occlusion_grid"]

_COVER_CELLS = 2
"""The square is two places wide, so that neighbours overlap by half."""


@dataclass(frozen=True, slots=True)
class OcclusionGrid:
    """Places of an image, row by row, and the square that covers each. Sizes in pixels of the prepared image."""

    rows: int
    columns: int
    height: int
    width: int
    channels_first: bool

    def __len__(self) -> int:
        """How many places there are."""
        return self.rows * self.columns

    def covered(self, pixels: Pixels, places: range) -> Pixels:
        """Return the image (of `shape`) once for each place, covered there by its own mean colour."""
        mean = rounded_to(pixels, mean_color(pixels, self.channels_first))
        images = np.repeat(pixels[None], len(places), axis=0)
        for image, place in zip(images, places, strict=True):
            down, across = self._square(place)
            region = (slice(None), down, across) if self.channels_first else (down, across)
            image[region] = mean
        return images

    def values(self, whole: float, covered: list[float]) -> NDArray[np.float32]:
        """Return what is lost at each place, (rows, columns), from the probabilities whole and covered."""
        return (whole - np.array(covered)).astype(np.float32).reshape(self.rows, self.columns)

    def _square(self, place: int) -> tuple[slice, slice]:
        row, column = divmod(place, self.columns)
        return _span(row, self.rows, self.height), _span(column, self.columns, self.width)


def occlusion_grid(height: int, width: int, along_short_side: int, channels_first: bool) -> OcclusionGrid:
    """Return a grid of nearly square places, so many along the shorter side, none smaller than a pixel."""
    cell = max(1.0, min(height, width) / along_short_side)
    return OcclusionGrid(round(height / cell), round(width / cell), height, width, channels_first)


def _span(index: int, count: int, size: int) -> slice:
    """Return the pixels that a square about the middle of a place covers along one axis."""
    cell = size / count
    middle, half = (index + 0.5) * cell, _COVER_CELLS * cell / 2
    return slice(max(0, round(middle - half)), min(size, round(middle + half)))
