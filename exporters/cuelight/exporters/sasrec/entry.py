"""What the server calls, by name and with plain values: it imports neither this package nor torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.exporters.errors import ExportError
from cuelight.exporters.export import export_model
from cuelight.exporters.parity import table
from cuelight.exporters.sasrec.rows import Likes
from cuelight.exporters.sasrec.settings import TrainSettings
from cuelight.exporters.sasrec.spec import export_spec
from cuelight.exporters.sasrec.train import Trained, train

__all__ = ["ExportError", "Trained", "Written", "check_settings", "foresight_of", "train_likes", "write"]


@dataclass(frozen=True, slots=True)
class Written:
    """Where the model is, its size, and the table of its parity with PyTorch."""

    path: Path
    size_bytes: int
    parity: str


def check_settings(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings by name, those not told by default. Raises: ValueError naming what cannot be."""
    return TrainSettings.of(told).as_dict()


def train_likes(
    items: Sequence[NDArray[np.int64]],
    times_s: Sequence[NDArray[np.float64]],
    n_items: int,
    told: Mapping[str, Any],
    checkpoint: Path | None = None,
    threads: int = 1,
    quiet: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Trained:
    """Train on what each person liked: `items` (likes,) numbers from 0 to below `n_items`, `times_s` (likes,).

    `told` are settings by name. Raises: ValueError, InterruptedError; see `train`.
    """
    likes = [Likes(*one) for one in zip(items, times_s, strict=True)]
    return train(likes, n_items, TrainSettings.of(told), checkpoint, threads, quiet, stop)


def foresight_of(trained: Trained) -> dict[str, Any]:
    """Return the figures on the likes that were left out while the number of epochs was chosen, by name."""
    return {"epochs": trained.epochs, "took_s": trained.took_s, **asdict(trained.foresight)}


def write(
    trained: Trained,
    repository: Path,
    name: str,
    assets: Mapping[str, bytes],
    source: str,
    version: int | None = None,
    seed: int = 0,
) -> Written:
    """Export into `<repository>/<name>/`, by default as its next version, with further files. Raises: ExportError."""
    export = export_model(export_spec(trained, name, assets, source), repository, repository, version, seed)
    return Written(export.path, export.size_bytes, table(export.report))
