"""The export of the LSTM that foresees a number. Its weights are our own (see `train`) and come with this package."""

import json
from pathlib import Path

import torch
from torch import Tensor

from cuelight.exporters.sequence_regressor.model import HISTORY, SequenceRegressor, load_checkpoint
from cuelight.exporters.sequence_regressor.series import AHEAD
from cuelight.exporters.spec import Axis, ExportSpec

__all__ = ["SPEC", "build", "example", "metadata"]


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
)
