"""Sums of probabilities that are kept as their natural logarithms."""

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["NEVER", "log_add", "log_softmax"]

NEVER = -math.inf
"""The logarithm of probability 0."""


def log_add(a: float, b: float) -> float:
    """Return log(exp(a) + exp(b)) without overflow."""
    if a < b:
        a, b = b, a
    return a if b == NEVER else a + math.log1p(math.exp(b - a))


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalize (..., vocab) over the last axis."""
    shifted: NDArray[np.float32] = logits - logits.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted
