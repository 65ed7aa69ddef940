"""A version of the sequential model, from its files to what scores; opened only if it computes what was exported."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.models.sequential import Sequential
from cuelight.server.recommender.trained.manifest import Manifest, read_manifest

__all__ = ["OpenSequential", "open_sequential", "sequential_folder"]

_NAME = "sequential"


@dataclass(frozen=True, slots=True, eq=False)
class OpenSequential:
    """An opened version. Its session is run by one thread at a time."""

    version: int
    manifest: Manifest
    states_of: Callable[[NDArray[np.int64]], NDArray[np.float64]]
    vectors: NDArray[np.float64]

    def scorer(self, place_of: Callable[[str], int | None], n_items: int) -> Sequential:
        """Return the model for a store: `place_of` an item's id, None where it has none; `n_items`, room for all."""
        places = [place_of(item) for item in self.manifest.items]
        here = np.array([-1 if place is None else place for place in places], np.int64)
        return Sequential(self.states_of, self.vectors, here, self.manifest.length, n_items)


def sequential_folder(models: Path) -> Path:
    """Return where its versions are, below the folder of models."""
    return models / _NAME


def open_sequential(version: Path) -> OpenSequential:
    """Open a version and replay its golden vectors.

    Raises: OSError; ValueError naming the file and what is wrong; ModelLoadError when it does not compute what was
    exported; whatever ONNX Runtime raises on a file that it cannot use.
    """
    # Imported where it is needed: a server without a trained model does without ONNX Runtime.
    from cuelight.server.inference.datatypes import DATATYPES  # noqa: PLC0415
    from cuelight.server.inference.engine import SessionConfig, open_session  # noqa: PLC0415
    from cuelight.server.inference.golden import read_golden, replay  # noqa: PLC0415
    from cuelight.server.inference.signature import ModelSignature, TensorSpec  # noqa: PLC0415

    manifest = read_manifest(version)
    vectors = np.load(version / "item_vectors.npy", allow_pickle=False)
    if vectors.ndim != 2 or len(vectors) != len(manifest.items) or vectors.dtype != np.float64:
        raise ValueError(
            f"{version / 'item_vectors.npy'}: expected FP64 [{len(manifest.items)},width], got {vectors.dtype} "
            f"{list(vectors.shape)}"
        )
    session = open_session(version / "model.onnx", SessionConfig())

    def states_of(tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        states: NDArray[np.float64] = session.run(["states"], {"tokens": tokens})[0]
        return states

    golden = read_golden(version / "golden.npz")
    if golden is None:
        raise ValueError(f"{version / 'golden.npz'}: missing")
    tokens = TensorSpec("tokens", DATATYPES["INT64"], (-1, -1))
    states = TensorSpec("states", DATATYPES["FP64"], (-1, -1, vectors.shape[1]))
    signature = ModelSignature({"tokens": tokens}, {"states": states}, 0)
    replay(golden, lambda inputs: [states_of(inputs["tokens"])], signature, str(version))
    return OpenSequential(int(version.name), manifest, states_of, vectors)
