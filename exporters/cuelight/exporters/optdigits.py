"""The handwritten digits that scikit-learn ships, out of a pinned wheel: 1,797 images of 8 x 8 pixels by 13 people.

Each pixel counts the inked points of a block of 4 x 4, 0 to 16. The file is read as it lies in the wheel, so nobody
needs scikit-learn. Writers follow each other in it: the last fifth, held out, is nearly all by people not trained on.

Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998, the test
part (https://doi.org/10.24432/C50P49); CC BY 4.0.
"""

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.exporters.weights import WheelFile

__all__ = ["DIGITS", "HELD_OUT", "SIDE", "Digits", "gray_preprocessing", "read_digits"]

DIGITS = WheelFile(
    requirement="scikit-learn==1.9.1",
    path="sklearn/datasets/data/digits.csv.gz",
    sha256="09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22",
    platform="manylinux_2_28_x86_64",
    python="3.11",
)
SIDE = 8
MOST_INK = 16
"""The largest value of a pixel."""
HELD_OUT = 360
"""So many images at the end of the file are never trained on."""


@dataclass(frozen=True, slots=True)
class Digits:
    """Images (count, 8, 8) uint8, 0 (paper) to 255 (ink), and what each shows, (count,) int64."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


def read_digits(cache_dir: Path) -> tuple[Digits, Digits]:
    """Return the digits to train on and those held out. Raises: WeightsError when they cannot be had."""
    with gzip.open(DIGITS.fetch(cache_dir), "rt", encoding="ascii") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float64)
    images = np.rint(table[:, :-1] * (255 / MOST_INK)).astype(np.uint8).reshape(-1, SIDE, SIDE)
    labels = table[:, -1].astype(np.int64)
    return Digits(images[:-HELD_OUT], labels[:-HELD_OUT]), Digits(images[-HELD_OUT:], labels[-HELD_OUT:])


def gray_preprocessing(side: int) -> dict[str, Any]:
    """Return how an image comes to (1, side, side), 0 (paper) to 1 (ink): light ink on dark paper, as in these data.

    For ink on white paper, mean 1 and std -1 turn it around.
    """
    return {
        "kind": "image",
        "layout": "NCHW",
        "color": "GRAY",
        "resize": {"short_side": side, "interpolation": "bicubic"},
        "crop": [side, side],
        "scale": 1 / 255,
        "mean": [0.0],
        "std": [1.0],
    }
