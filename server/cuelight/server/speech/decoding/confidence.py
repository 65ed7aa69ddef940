"""From logarithms of probabilities to a confidence between 0 and 1."""

import math
from collections.abc import Sequence

__all__ = ["confidence_of"]


def confidence_of(log_probs: Sequence[float]) -> float:
    """Return the geometric mean of the tokens' probabilities; 0.0 where there are no tokens.

    The geometric mean does not fall with the length of what was said, as the product would. It tells how sure the model
    is, which is not how often it is right: nothing is calibrated here.
    """
    if not log_probs:
        return 0.0
    return min(1.0, math.exp(math.fsum(log_probs) / len(log_probs)))
