"""A graph of vectors that leads to almost all of the nearest ones in a few hundred steps, however many there are.

The library usearch builds and walks it: a hierarchical navigable small world over vectors of 8 bits. It only proposes;
the true products of what it proposes decide (`space`), so that rounding to 8 bits costs no order.

How far it must be walked to find 99 % of the nearest depends on the vectors: in 64 components that depend on nothing
it is farther than looking at all of them. So it is measured on the vectors at hand, with queries that the graph has not
seen, and a graph that would have to be walked too far does not serve.

Source: Malkov and Yashunin, Efficient and robust approximate nearest neighbor search using hierarchical navigable
small world graphs, TPAMI 2020.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["RECALL", "GraphIndex"]

RECALL = 0.99
"""Of the 10 nearest, what a graph has to propose on average to serve."""

_CONNECTIVITY = 16
_EXPANSION_ADD = 128
_EXPANSIONS = (64, 96, 128, 192, 256, 384, 512)
"""How many vectors a walk keeps in sight; time grows in proportion."""
_ADDED_AT_ONCE = 1000


class GraphIndex:
    """Owned by one thread at a time: the one that builds it, and then the one that searches."""

    def __init__(self, length: int) -> None:
        from usearch.index import Index  # noqa: PLC0415

        self._index: Any = Index(
            ndim=length,
            metric="ip",
            dtype="i8",
            connectivity=_CONNECTIVITY,
            expansion_add=_EXPANSION_ADD,
            expansion_search=_EXPANSIONS[0],
        )
        self.recall: float | None = None
        """As last measured, None before."""

    def __len__(self) -> int:
        return len(self._index)

    @property
    def expansion(self) -> int:
        """How many vectors a walk keeps in sight."""
        return int(self._index.expansion_search)

    def replace(self, places: NDArray[np.int64], known: NDArray[np.bool_], vectors: NDArray[np.float32]) -> None:
        """Set the vectors of items in `places` (n,): those that are `known` (n,) have one in `vectors` (known, d).

        The others are taken out.
        """
        for place in places.tolist():
            if place in self._index:
                self._index.remove(place)
        added = places[known]
        for start in range(0, len(vectors), _ADDED_AT_ONCE):
            end = start + _ADDED_AT_ONCE
            self._index.add(added[start:end], vectors[start:end], threads=1)

    def propose(self, queries: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return which items may be near to `queries` (q, d), `count` for each.

        As pairs of queries (p,) and places (p,).
        """
        found = self._index.search(queries, count, threads=1)
        if len(queries) == 1:  # usearch gives one list then, without its length
            return np.zeros(len(found.keys), np.int64), found.keys.astype(np.int64)
        of, at = np.nonzero(np.arange(found.keys.shape[1]) < found.counts[:, np.newaxis])
        return of, found.keys[of, at].astype(np.int64)

    def measure(self, queries: NDArray[np.float32], count: int, nearest: list[NDArray[np.int64]]) -> None:
        """Walk as far as it takes to propose `RECALL` of the `nearest` places of each query, or as far as there is."""
        total = sum(map(len, nearest))
        for expansion in _EXPANSIONS:
            self._index.expansion_search = expansion
            of, places = self.propose(queries, count)
            found = sum(int(np.isin(true, places[of == query]).sum()) for query, true in enumerate(nearest))
            self.recall = found / total if total else 1.0
            # Half of what may be missed: the queries are few.
            if self.recall >= (1 + RECALL) / 2:
                return
