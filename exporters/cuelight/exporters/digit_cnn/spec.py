"""The export of the digit CNN. Its weights are our own (see `train`) and come with this package."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cuelight.exporters.digit_cnn.model import CLASSES, SIZE, DigitCnn, load_checkpoint
from cuelight.exporters.digit_cnn.train import enlarged
from cuelight.exporters.optdigits import DIGITS, gray_preprocessing, read_digits
from cuelight.exporters.spec import Accuracy, Arrays, Check, ExportSpec, Run

__all__ = ["PREPROCESSING", "SPEC", "build", "calibration", "example", "metadata", "share_right"]

_CALIBRATION_DIGITS = 200

PREPROCESSING = gray_preprocessing(SIZE)


def build(cache_dir: Path) -> DigitCnn:
    """Return the trained network."""
    return load_checkpoint()


def example(generator: torch.Generator, batch: int) -> dict[str, Tensor]:
    """Return noise of every gray, (batch, 1, 28, 28) float32."""
    return {"image": torch.rand((batch, 1, SIZE, SIZE), generator=generator)}


def metadata(cache_dir: Path) -> dict[str, str]:
    """Return the labels and the preprocessing, as JSON."""
    return {
        "cuelight.labels": json.dumps([str(digit) for digit in range(CLASSES)]),
        "cuelight.preprocessing": json.dumps(PREPROCESSING),
    }


def share_right(run: Run, cache_dir: Path) -> float:
    """Return the share of the digits held out that are recognised."""
    _, held_out = read_digits(cache_dir)
    logits = run({"image": enlarged(held_out.images)})["logits"]
    return float(np.mean(logits.argmax(1) == held_out.labels))


def calibration(cache_dir: Path) -> list[Arrays]:
    """Return digits that were trained on, each a batch of its own."""
    digits, _ = read_digits(cache_dir)
    images = enlarged(digits.images[:_CALIBRATION_DIGITS])
    return [{"image": image[np.newaxis]} for image in images]


SPEC = ExportSpec(
    name="digit_cnn",
    summary="CNN, handwritten digits of 28 x 28 pixels to 0 to 9",
    build=build,
    example=example,
    outputs=("logits", "probabilities"),
    task="image_classification",
    max_batch_size=64,
    parity_batches=(1, 2, 7, 64),
    golden_batches=(1, 4),
    atol=1e-5,
    rtol=1e-5,
    metadata=metadata,
    source="trained by Cuelight on Optical Recognition of Handwritten Digits (Alpaydin, Kaynak; "
    "doi.org/10.24432/C50P49) as in scikit-learn",
    license="CC-BY-4.0",
    accuracy=Accuracy("share right of 360 held-out digits", share_right, 0.01, (DIGITS,)),
    calibration=calibration,
    architecture="CNN",
    check=Check("digits held out", "tests/exporters/test_digit_cnn.py::test_digits_held_out_are_recognised"),
    int8_method="int8-static",
)
