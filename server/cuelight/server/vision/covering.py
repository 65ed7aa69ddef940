"""What takes the place of a part of an image that a model is not to see: the image's own mean colour, as the image is.

Rules of arrays, for explanations by occlusion and by masks.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.vision.preprocessing import BRIGHTEST, Pixels

__all__ = ["mean_color", "rounded_to"]


def mean_color(pixels: Pixels, channels_first: bool) -> NDArray[np.float32]:
    """Return the mean of each channel, with both axes of the picture kept as 1.

    It is summed in float64: with the channels last, float32 is off by half a step of a byte at 512 x 512 pixels.
    """
    axes = (1, 2) if channels_first else (0, 1)
    mean: NDArray[np.float32] = pixels.mean(axis=axes, keepdims=True, dtype=np.float64).astype(np.float32)
    return mean


def rounded_to(pixels: Pixels, values: NDArray[Any]) -> Pixels:
    """Return values as numbers of the image's type: bytes are rounded, and end at 0 and 255."""
    if pixels.dtype == np.uint8:
        rounded: Pixels = np.rint(values).clip(0, BRIGHTEST).astype(np.uint8)
        return rounded
    return values.astype(pixels.dtype, copy=False)
