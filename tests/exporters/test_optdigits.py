"""The handwritten digits: all there, and those held out are none of the others."""

from pathlib import Path

import numpy as np

from cuelight.exporters.optdigits import read_digits

OF_EACH = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
"""How often each digit is in the file. Source: optdigits.names of the UCI repository, testing set."""


def test_every_digit_is_there_as_often_as_published(cache_dir: Path) -> None:
    digits, held_out = read_digits(cache_dir)

    labels = np.concatenate([digits.labels, held_out.labels])
    assert np.bincount(labels).tolist() == OF_EACH
    assert (len(digits.images), len(held_out.images)) == (1437, 360)


def test_no_image_held_out_is_trained_on(cache_dir: Path) -> None:
    digits, held_out = read_digits(cache_dir)

    assert not {image.tobytes() for image in digits.images} & {image.tobytes() for image in held_out.images}
    assert (digits.images.min(), digits.images.max()) == (0, 255)
