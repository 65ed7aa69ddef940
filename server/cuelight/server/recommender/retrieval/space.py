"""One space of embeddings: its exact index, and above 200,000 items a graph beside it."""

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.embeddings import unit_rows
from cuelight.server.recommender.retrieval.exact_index import ExactIndex
from cuelight.server.recommender.retrieval.index import Hits

__all__ = ["Space"]


class Space:
    """The vectors of one space, at length 1. One thread owns it."""

    def __init__(self, name: str, length: int) -> None:
        self.name = name
        self.index = ExactIndex(length)

    def __len__(self) -> int:
        return len(self.index)

    def put(self, places: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Set the vectors (n, d) of items; none is all 0."""
        self.index.upsert(places, unit_rows(vectors))

    def drop(self, places: NDArray[np.int64]) -> None:
        """Drop the vectors of items."""
        self.index.delete(places)

    def search(
        self, queries: NDArray[np.float32], n: int, allowed: NDArray[np.bool_] | None, exact: bool
    ) -> tuple[list[Hits], bool]:
        """Return the nearest to each query (q, d), and whether every item was looked at."""
        return self.index.search(queries, n, allowed), True
