"""Scores to labels: rules of arrays, without model or wire."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["normalized", "probabilities_of", "top_classes"]

Numbers = NDArray[np.float64]


def probabilities_of(scores: NDArray[Any], are_logits: bool) -> Numbers:
    """Return the probabilities (rows, classes) of scores (rows, classes): their softmax, or the scores themselves."""
    exact = scores.astype(np.float64)
    if not are_logits:
        return exact
    powers: Numbers = np.exp(exact - exact.max(axis=-1, keepdims=True))
    total: Numbers = powers.sum(axis=-1, keepdims=True)
    return powers / total


def top_classes(probabilities: Numbers, count: int) -> list[int]:
    """Return the classes of the `count` highest probabilities, best first; equal ones by index."""
    return [int(index) for index in np.argsort(-probabilities, kind="stable")[:count]]


def normalized(vector: NDArray[Any]) -> Numbers:
    """Return a vector scaled to length 1; one of zeros as it is."""
    exact = vector.astype(np.float64)
    length = float(np.linalg.norm(exact))
    return exact / length if length else exact
