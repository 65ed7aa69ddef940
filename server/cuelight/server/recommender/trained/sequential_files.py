"""A version of the sequential model, from its files to what scores; opened only if it computes what was exported."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.models.sequential import Network, Sequential
from cuelight.server.recommender.trained.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["OnnxNetwork", "OpenSequential", "open_sequential", "sequential_folder"]

_NAME = "sequential"
_SAME = 1e-9
"""States are of the size of 1, and doubles: what the same network computes in two ways is far closer."""


class OnnxNetwork:
    """The two files that compute states, each a session; one thread at a time runs them."""

    def __init__(self, states: "InferenceSession", last: "InferenceSession") -> None:
        self._states = states
        self._last = last

    def states(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return all states; see `Network`."""
        states: NDArray[np.float64] = self._states.run(["states"], {"tokens": tokens})[0]
        return states

    def last(self, tokens: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the last states; see `Network`."""
        state: NDArray[np.float64] = self._last.run(["state"], {"tokens": tokens, "ends": ends})[0]
        return state


@dataclass(frozen=True, slots=True, eq=False)
class OpenSequential:
    """An opened version."""

    manifest: Manifest
    network: Network
    vectors: NDArray[np.float64]

    def scorer(self, place_of: Callable[[str], int | None], n_items: int) -> Sequential:
        """Return the model for a store: `place_of` an item's id, None where it has none; `n_items`, room for all."""
        places = [place_of(item) for item in self.manifest.items]
        here = np.array([-1 if place is None else place for place in places], np.int64)
        return Sequential(self.network, self.vectors, here, self.manifest.length, n_items)


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
    config = SessionConfig()
    network = OnnxNetwork(open_session(version / "model.onnx", config), open_session(version / "last.onnx", config))
    golden = read_golden(version / "golden.npz")
    if golden is None:
        raise ValueError(f"{version / 'golden.npz'}: missing")
    tokens = TensorSpec("tokens", DATATYPES["INT64"], (-1, -1))
    states = TensorSpec("states", DATATYPES["FP64"], (-1, -1, vectors.shape[1]))
    signature = ModelSignature({"tokens": tokens}, {"states": states}, 0)
    replay(golden, lambda inputs: [network.states(inputs["tokens"])], signature, str(version))
    for case in golden.cases:
        _check_last(network, case.inputs["tokens"], version)
    return OpenSequential(manifest, network, vectors)


def _check_last(network: OnnxNetwork, tokens: NDArray[np.int64], version: Path) -> None:
    """Check that both files say the same of the last places. Raises: ValueError."""
    ends = np.full(len(tokens), tokens.shape[1] - 1)
    off = float(np.abs(network.last(tokens, ends) - network.states(tokens)[:, -1]).max())
    if not off <= _SAME:
        raise ValueError(f"{version / 'last.onnx'}: off by {off:.3g} from model.onnx, allowed {_SAME:g}")
