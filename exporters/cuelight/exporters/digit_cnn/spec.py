"""The export of the digit CNN. Its weights are our own (see `train`) and come with this package."""

import json
from pathlib import Path

import torch
from torch import Tensor

from cuelight.exporters.digit_cnn.model import CLASSES, SIZE, DigitCnn, load_checkpoint
from cuelight.exporters.spec import ExportSpec

__all__ = ["PREPROCESSING", "SPEC", "build", "example", "metadata"]

PREPROCESSING = {
    "kind": "image",
    "layout": "NCHW",
    "color": "GRAY",
    "resize": {"short_side": SIZE, "interpolation": "bicubic"},
    "crop": [SIZE, SIZE],
    "scale": 1 / 255,
    "mean": [0.0],
    "std": [1.0],
}
"""Light ink on dark paper, as in the data sets of digits. For ink on white paper, mean 1 and std -1 turn it around."""


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
)
