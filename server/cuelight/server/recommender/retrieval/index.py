"""What every index of vectors is: `tests/server/recommender/test_index_contract.py` holds each to it."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Hits", "VectorIndex", "no_hits"]


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """What is near to one query, nearest first: `places` (k,) int64 of items and their `cosines` (k,) float32."""

    places: NDArray[np.int64]
    cosines: NDArray[np.float32]


class VectorIndex(Protocol):
    """Vectors of length 1 by the places of their items. One thread owns it."""

    def __len__(self) -> int:
        """Return how many vectors there are."""
        ...

    def upsert(self, places: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Set the vectors (n, d), at length 1, of the items in `places` (n,), each place once."""
        ...

    def delete(self, places: NDArray[np.int64]) -> None:
        """Drop the vectors of items; places that have none are passed over."""
        ...

    def search(self, queries: NDArray[np.float32], n: int, allowed: NDArray[np.bool_] | None = None) -> list[Hits]:
        """Return the `n` vectors of the highest cosine to each of `queries` (q, d), which are at length 1.

        Only items that are `allowed`, by place; None allows all. Places beyond its end are not allowed. Never fewer
        than n where there are as many; of equal cosines the lower place comes first.
        """
        ...


def no_hits() -> Hits:
    """Return what is near where nothing is."""
    return Hits(np.empty(0, np.int64), np.empty(0, np.float32))
