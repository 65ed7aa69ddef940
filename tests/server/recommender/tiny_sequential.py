"""Sequential models small enough to be trained by the tests that need one, and as few of them as will do."""

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cuelight.exporters.sasrec import entry
from cuelight.exporters.sasrec.model import SasRec
from cuelight.server.recommender.models.sequential import Sequential
from cuelight.server.recommender.trained.for_evaluation import trained_on
from cuelight.server.recommender.trained.manifest import MANIFEST_NAME, Manifest, Stamp
from cuelight.server.recommender.trained.sequential_files import sequential_folder
from cuelight.server.recommender.trained.training_data import like_rows
from tests.server.recommender.tables import checkerboard, random_table

__all__ = ["TINY", "exported", "random_sequential", "sequential_of_the_checkerboard", "write_version"]

TINY: dict[str, Any] = {"width": 8, "length": 6, "batch": 4, "rate": 0.01, "epochs": 2}


@cache
def random_sequential() -> Sequential:
    """Return a model of `random_table()`, exported and run by ONNX Runtime."""
    return trained_on(random_table(), TINY, quiet=True)


@cache
def sequential_of_the_checkerboard(n: int = 20) -> Sequential:
    """Return a model of `checkerboard(n)` that has seen it often enough to know it; run by PyTorch."""
    table = checkerboard(n)
    rows = like_rows([table.row(user) for user in range(len(table))])
    told = {**TINY, "length": n // 2, "epochs": 20, "dropout": 0.1}
    network = entry.train_likes(rows.items, rows.times_s, n, told, quiet=True).network.double()

    return Sequential(_InTorch(network), network.vectors().detach().numpy(), np.arange(n), n // 2, n)


class _InTorch:
    def __init__(self, network: SasRec) -> None:
        self._network = network

    def states(self, tokens: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(self._network(torch.from_numpy(tokens)).numpy())

    def last(self, tokens: np.ndarray, ends: np.ndarray) -> np.ndarray:
        return self.states(tokens)[range(len(ends)), ends]


def write_version(models: Path, items: Sequence[str], stamp: Stamp) -> Path:
    """Write a version that has hardly learned anything, as a training would; return where."""
    manifest = Manifest(stamp, tuple(items), TINY["length"], 1.0)
    folder = sequential_folder(models)
    version = folder / str(1 + max((int(path.name) for path in folder.glob("[0-9]*")), default=0))
    version.mkdir(parents=True)
    for name, content in {**exported(len(items)), MANIFEST_NAME: manifest.as_json()}.items():
        (version / name).write_bytes(content)
    return version


@cache
def exported(n_items: int) -> dict[str, bytes]:
    """Return the files of a version that has hardly learned anything, by name; it takes seconds, once."""
    people = [np.arange(n_items), np.arange(n_items)[::-1].copy()]
    told = {**TINY, "epochs": 1}
    trained = entry.train_likes(people, [np.arange(n_items, dtype=np.float64)] * 2, n_items, told, quiet=True)
    with tempfile.TemporaryDirectory() as scratch:
        written = entry.write(trained, Path(scratch), "sequential", {}, "a test")
        return {path.name: path.read_bytes() for path in written.path.iterdir()}
