"""The export of the network that shows its attention. Its weights are our own (see `train`), in this package."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cuelight.exporters.optdigits import DIGITS, SIDE, gray_preprocessing, read_digits
from cuelight.exporters.self_attention.model import CLASSES, PATCH, PatchAttention, load_checkpoint
from cuelight.exporters.self_attention.train import as_input
from cuelight.exporters.spec import Accuracy, Arrays, Check, ExportSpec, Run

__all__ = ["PREPROCESSING", "SPEC", "build", "calibration", "example", "metadata", "share_right"]

_CALIBRATION_DIGITS = 200

PREPROCESSING = gray_preprocessing(SIDE)


def build(cache_dir: Path) -> PatchAttention:
    """Return the trained network."""
    return load_checkpoint()


def example(generator: torch.Generator, batch: int) -> dict[str, Tensor]:
    """Return noise of every gray, (batch, 1, 8, 8) float32."""
    return {"image": torch.rand((batch, 1, SIDE, SIDE), generator=generator)}


def metadata(cache_dir: Path) -> dict[str, str]:
    """Return labels, preprocessing, and which output holds the attention over which grid of patches, as JSON."""
    attention = {"output": "attention", "grid": [SIDE // PATCH, SIDE // PATCH], "order": "row by row"}
    return {
        "cuelight.labels": json.dumps([str(digit) for digit in range(CLASSES)]),
        "cuelight.preprocessing": json.dumps(PREPROCESSING),
        "cuelight.attention": json.dumps(attention),
    }


def share_right(run: Run, cache_dir: Path) -> float:
    """Return the share of the digits held out that are recognised."""
    _, held_out = read_digits(cache_dir)
    logits = run({"image": as_input(held_out).numpy()})["logits"]
    return float(np.mean(logits.argmax(1) == held_out.labels))


def calibration(cache_dir: Path) -> list[Arrays]:
    """Return digits that were trained on, each a batch of its own."""
    digits, _ = read_digits(cache_dir)
    images = as_input(digits).numpy()[:_CALIBRATION_DIGITS]
    return [{"image": image[np.newaxis]} for image in images]


SPEC = ExportSpec(
    name="self_attention",
    summary="self-attention over the patches of a handwritten digit, its weights an output",
    build=build,
    example=example,
    outputs=("logits", "attention"),
    task="image_classification",
    max_batch_size=64,
    parity_batches=(1, 2, 7, 64),
    golden_batches=(1, 4),
    atol=1e-4,
    rtol=1e-4,
    metadata=metadata,
    source="trained by Cuelight on Optical Recognition of Handwritten Digits (Alpaydin, Kaynak; "
    "doi.org/10.24432/C50P49) as in scikit-learn",
    license="CC-BY-4.0",
    accuracy=Accuracy("share right of 360 held-out digits", share_right, 0.01, (DIGITS,)),
    calibration=calibration,
    architecture="multi-head self-attention",
    check=Check(
        "digits held out",
        "tests/exporters/test_self_attention.py::test_digits_held_out_are_recognised_with_weights_that_add_up",
    ),
    int8_method="int8-dynamic",
)
