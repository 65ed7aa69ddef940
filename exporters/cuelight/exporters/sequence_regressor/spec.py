"""The export of the LSTM that foresees a number. Its weights are our own (see `train`) and come with this package."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cuelight.exporters.sequence_regressor.model import HISTORY, SequenceRegressor, load_checkpoint
from cuelight.exporters.sequence_regressor.series import AHEAD, forecasts, ndei
from cuelight.exporters.spec import Accuracy, Arrays, Axis, Check, ExportSpec, Run

__all__ = ["SPEC", "build", "calibration", "example", "foreseen", "metadata"]


def build(cache_dir: Path) -> SequenceRegressor:
    """Return the trained network."""
    return load_checkpoint()


def example(generator: torch.Generator, batch: int, time: int) -> dict[str, Tensor]:
    """Return noise in the range of the series, (batch, time, 1) float32."""
    return {"series": torch.rand((batch, time, 1), generator=generator) + 0.4}


def metadata(cache_dir: Path) -> dict[str, str]:
    """Return what the numbers are, as JSON."""
    series = {"name": "Mackey-Glass, delay 17", "history_steps": HISTORY, "ahead_steps": AHEAD}
    return {"cuelight.series": json.dumps(series)}


def foreseen(run: Run, cache_dir: Path) -> float:
    """Return 1 less the error over the deviation, of the values held out: 1 is perfect, 0 is foreseeing the mean."""
    _, tested = forecasts(HISTORY)
    return 1 - ndei(run({"series": tested.seen[..., np.newaxis]})["value"][:, 0], tested.wanted)


def calibration(cache_dir: Path) -> list[Arrays]:
    """Return what was learned from, each sequence a batch of its own."""
    learned, _ = forecasts(HISTORY)
    return [{"series": seen[np.newaxis, :, np.newaxis]} for seen in learned.seen]


SPEC = ExportSpec(
    name="sequence_regressor",
    summary="LSTM, a stretch of the Mackey-Glass series to its value six steps later",
    build=build,
    example=example,
    outputs=("value",),
    task="regression",
    max_batch_size=64,
    parity_batches=(1, 2, 16),
    golden_batches=(1, 4),
    atol=1e-5,
    rtol=1e-5,
    axes=(Axis("time", (1, HISTORY, 100)),),
    metadata=metadata,
    source="trained by Cuelight on the Mackey-Glass equation (Science 197, 1977)",
    license="Apache-2.0",
    accuracy=Accuracy("1 less error over deviation of 500 held-out values", foreseen, 0.02),
    calibration=calibration,
    architecture="LSTM, many to one",
    check=Check(
        "error against a line and the last value",
        "tests/exporters/test_sequence_regressor.py::test_the_file_foresees_better_than_a_line_and_than_the_last_value",
    ),
    int8_method="int8-dynamic",
)
