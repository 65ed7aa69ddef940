"""What is asked of retrieval and what it answers, in the callers' own ids."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.catalogue import ItemFilter
from cuelight.server.recommender.embeddings import Vector

__all__ = ["Near", "Nearest", "NearestQuestion"]

Near = tuple[str, float]
"""An item and its cosine."""


@dataclass(frozen=True, slots=True, eq=False)
class NearestQuestion:
    """What is near to each of `queries`, vectors or ids of items?"""

    space: str
    """Empty where there is one alone."""
    queries: tuple[Vector | str, ...]
    n: int
    conditions: ItemFilter = field(default_factory=ItemFilter)
    allowed: NDArray[np.bool_] | None = None
    """By place, which items meet the conditions; None where nothing but availability is among them."""
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Nearest:
    """A list for each query, nearest first, and whether every item was looked at."""

    lists: tuple[tuple[Near, ...], ...]
    exact: bool
