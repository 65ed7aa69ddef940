"""The n nearest of all vectors, none missed: every vector is looked at.

    few rows, or few allowed     products in float32
    many rows                    products in 8 bits, within a bound (`int8_products`), 32 queries at once; in float32
                                 where that leaves too much open, as among thousands of near doubles
    -> what can be among the n nearest (`candidates`), about 50 rows of 100,000
    -> their products in float64, and the n largest

At 100,000 x 64, top 10, 32 queries together, one core of an EPYC with AVX2 took 3.3 ms for the products, 1.9 ms to find
what can be among the nearest and 0.5 ms for the rest: the least processor time of 40 runs, on a machine that had other
work. In blocks of 80 rows instead of 32, finding took 2.7 to 6 ms.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.retrieval.candidates import find_candidates
from cuelight.server.recommender.retrieval.index import Hits, no_hits
from cuelight.server.recommender.retrieval.int8_products import LOWEST, Int8Rows

__all__ = ["ExactIndex"]

_QUERIES_AT_ONCE = 32
_ROWS_AT_ONCE = 131_072
"""With 32 queries 16 MiB of products, which are looked through before the next ones are made."""
_LEAST_INT8_ROWS = 10_000
_FEW_ALLOWED = 8
"""From one in so many rows on, those that are allowed are taken out and looked at alone."""
_LEAST_ROOM = 64
_FLOAT32_BOUND = 1e-5
"""Of a product of two vectors of length 1 with up to 4096 components, rounded at each step, generously."""
_LOWEST_FLOAT32 = -2.0
"""Below all products, and what is subtracted from them."""
_TELLS_ENOUGH = 0.5
_TELLS_OVER = 8
_TELLS_AGAIN = 1 / 64
"""Where many vectors are so near to each other that 8 bits tell too little for more than half of the queries, float32
alone is less work; now and then 8 bits are tried again."""
_PAIRS_AT_ONCE = 16_384
"""Whose vectors are copied as float64 at once."""


class ExactIndex:
    """See `VectorIndex`. Vectors are in rows without gaps: the last one moves to where one is deleted."""

    def __init__(self, length: int) -> None:
        self._vectors = np.empty((_LEAST_ROOM, length), np.float32)
        self._places = np.empty(_LEAST_ROOM, np.int64)
        self._row_of = np.empty(0, np.int64)
        self._used = 0
        self._int8: Int8Rows | None = None
        self._int8_tells = 1.0
        """The share of late queries for which 8 bits were enough."""

    def __len__(self) -> int:
        return self._used

    @property
    def length(self) -> int:
        """How many numbers a vector has."""
        return self._vectors.shape[1]

    @property
    def places(self) -> NDArray[np.int64]:
        """The places that have a vector (n,), in no order; good until the next change."""
        return self._places[: self._used]

    def vectors_of(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of items that have one: (n, d)."""
        vectors: NDArray[np.float32] = self._vectors[self._row_of[places]]
        return vectors

    def has(self, place: int) -> bool:
        """Tell whether an item has a vector."""
        return 0 <= place < len(self._row_of) and bool(self._row_of[place] >= 0)

    def upsert(self, places: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Set vectors; see `VectorIndex`."""
        if not len(places):
            return
        self._know_places(int(places.max()) + 1)
        rows = self._row_of[places]
        new = np.flatnonzero(rows < 0)
        self._make_room(self._used + len(new))
        rows[new] = np.arange(self._used, self._used + len(new))
        self._used += len(new)
        self._row_of[places] = rows
        self._places[rows] = places
        self._vectors[rows] = vectors
        if self._int8 is not None:
            self._int8.put(rows, vectors)
        elif self._used >= _LEAST_INT8_ROWS:
            self._int8 = Int8Rows(len(self._vectors), self._vectors[: self._used])

    def delete(self, places: NDArray[np.int64]) -> None:
        """Drop vectors; see `VectorIndex`."""
        for place in places.tolist():
            if self.has(place):
                self._delete_row(place)

    def search(self, queries: NDArray[np.float32], n: int, allowed: NDArray[np.bool_] | None = None) -> list[Hits]:
        """Return the nearest; see `VectorIndex`."""
        passed = None if allowed is None else self._passed(allowed)
        n_rows = self._used if passed is None else int(np.count_nonzero(passed))
        if not n_rows or n < 1:
            return [no_hits() for _ in queries]
        few = np.flatnonzero(passed) if passed is not None and n_rows * _FEW_ALLOWED <= self._used else None
        hits: list[Hits] = []
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            best = _Best(self._vectors, queries[start : start + _QUERIES_AT_ONCE], min(n, n_rows))
            if few is not None:
                self._look_among(few, best)
            else:
                self._look_at_all(passed, best)
            hits += best.hits(self._places)
        return hits

    def nearest_of(
        self,
        queries: NDArray[np.float32],
        n: int,
        proposed: tuple[NDArray[np.int64], NDArray[np.int64]],
        others: NDArray[np.int64],
        allowed: NDArray[np.bool_] | None = None,
    ) -> list[Hits]:
        """Return the `n` nearest to each of `queries` (q, d) of those that are `proposed` for it and of some others.

        `proposed` are pairs of queries (p,) and places (p,), each once; `others` (m,) are places that may be near to
        any of them, and are not proposed. Places without a vector are passed over, as those that are not `allowed`.
        """
        of, places = proposed
        rows = self._rows_of(places, allowed)
        best = _Best(self._vectors, queries, n)
        best.add(of[rows >= 0], rows[rows >= 0])
        other_rows = self._rows_of(others, allowed)
        self._look_among(other_rows[other_rows >= 0], best)
        return best.hits(self._places)

    def _rows_of(self, places: NDArray[np.int64], allowed: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """Return the rows of the vectors of items, below 0 for those that have none or are not allowed."""
        rows = np.full(len(places), -1, np.int64)
        known = places < len(self._row_of) if allowed is None else places < min(len(self._row_of), len(allowed))
        rows[known] = self._row_of[places[known]]
        if allowed is not None:
            rows[known] = np.where(allowed[places[known]], rows[known], -1)
        return rows

    def _look_at_all(self, passed: NDArray[np.bool_] | None, best: "_Best") -> None:
        for start in range(0, self._used, _ROWS_AT_ONCE):
            end = min(start + _ROWS_AT_ONCE, self._used)
            shut = None if passed is None else np.flatnonzero(~passed[start:end])
            unclear = np.arange(len(best.queries))
            if self._int8 is not None and self._int8_tells >= _TELLS_ENOUGH:
                unclear = self._look_in_int8(self._int8, start, end, shut, best)
            elif self._int8 is not None:
                self._int8_tells += _TELLS_AGAIN
            if len(unclear):
                self._look_in_float32(start, end, shut, unclear, best)

    def _look_in_int8(
        self, int8: Int8Rows, start: int, end: int, shut: NDArray[np.int64] | None, best: "_Best"
    ) -> NDArray[np.int64]:
        """Look at some rows but those that are `shut`, and return the queries for which 8 bits tell too little."""
        products, bounds = int8.products(start, end, best.queries)
        if shut is not None:
            products[shut] = 2 * LOWEST
        found = find_candidates(products, bounds, min(best.n, end - start), LOWEST)
        best.add(found.queries, found.rows + start)
        self._int8_tells += (1 - float(found.unclear.mean()) - self._int8_tells) / _TELLS_OVER
        return np.flatnonzero(found.unclear)

    def _look_in_float32(
        self, start: int, end: int, shut: NDArray[np.int64] | None, asked: NDArray[np.int64], best: "_Best"
    ) -> None:
        """Look at some rows but those that are `shut`, for the queries that are `asked`."""
        products = self._vectors[start:end] @ best.queries[asked].T
        if shut is not None:
            products[shut] = 2 * _LOWEST_FLOAT32
        bounds = np.full(len(asked), _FLOAT32_BOUND, np.float32)
        found = find_candidates(products, bounds, min(best.n, end - start), _LOWEST_FLOAT32)
        best.add(asked[found.queries], found.rows + start)
        if found.unclear.any():
            rows = np.arange(start, end)
            best.add_best_of(rows if shut is None else np.delete(rows, shut), asked[found.unclear])

    def _look_among(self, rows: NDArray[np.int64], best: "_Best") -> None:
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[start : start + _ROWS_AT_ONCE]
            products = self._vectors[some] @ best.queries.T
            bounds = np.full(len(best.queries), _FLOAT32_BOUND, np.float32)
            found = find_candidates(products, bounds, min(best.n, len(some)), _LOWEST_FLOAT32)
            best.add(found.queries, some[found.rows])
            best.add_best_of(some, np.flatnonzero(found.unclear))

    def _passed(self, allowed: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        """Return which rows are allowed, (rows,); None where all are."""
        places = self.places
        known = places < len(allowed)
        passed: NDArray[np.bool_] = allowed[places] if known.all() else known & allowed[np.where(known, places, 0)]
        return None if passed.all() else passed

    def _delete_row(self, place: int) -> None:
        row, last = int(self._row_of[place]), self._used - 1
        self._row_of[place] = -1
        if row != last:
            self._vectors[row] = self._vectors[last]
            self._places[row] = self._places[last]
            self._row_of[self._places[row]] = row
            if self._int8 is not None:
                self._int8.move(last, row)
        self._used = last

    def _know_places(self, n_places: int) -> None:
        known = len(self._row_of)
        if n_places > known:
            row_of = np.full(max(n_places, known + known // 2), -1, np.int64)
            row_of[:known] = self._row_of
            self._row_of = row_of

    def _make_room(self, n_rows: int) -> None:
        if n_rows <= len(self._vectors):
            return
        room = n_rows + n_rows // 2
        vectors, places = np.empty((room, self.length), np.float32), np.empty(room, np.int64)
        vectors[: self._used] = self._vectors[: self._used]
        places[: self._used] = self._places[: self._used]
        self._vectors, self._places = vectors, places
        self._int8 = None  # measured anew: half as many vectors again may be of another kind


class _Best:
    """What was found for some queries so far, and the true products."""

    def __init__(self, vectors: NDArray[np.float32], queries: NDArray[np.float32], n: int) -> None:
        self.queries = queries
        self.n = n
        self._vectors = vectors
        self._exact = queries.astype(np.float64)
        self._found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []

    def add(self, queries: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
        """Take in pairs (c,) of queries and rows."""
        for start in range(0, len(rows), _PAIRS_AT_ONCE):
            some, of = rows[start : start + _PAIRS_AT_ONCE], queries[start : start + _PAIRS_AT_ONCE]
            products = np.einsum("ij,ij->i", self._vectors[some].astype(np.float64), self._exact[of])
            self._found.append((of, some, products))

    def add_best_of(self, rows: NDArray[np.int64], queries: NDArray[np.int64]) -> None:
        """Take in the best of some rows for each of some queries, by looking at all of them."""
        for query in queries.tolist():
            products = np.concatenate(
                [
                    self._vectors[rows[start : start + _PAIRS_AT_ONCE]].astype(np.float64) @ self._exact[query]
                    for start in range(0, len(rows), _PAIRS_AT_ONCE)
                ]
            )
            last = max(len(rows) - self.n, 0)
            among = np.flatnonzero(products >= np.partition(products, last)[last])
            self._found.append((np.full(len(among), query), rows[among], products[among]))

    def hits(self, places: NDArray[np.int64]) -> list[Hits]:
        """Return the n best of each query; `places` (rows,) of the items."""
        if not self._found:
            return [no_hits() for _ in self.queries]
        queries, rows, products = (np.concatenate(part) for part in zip(*self._found, strict=True))
        order = np.lexsort((places[rows], -products, queries))
        ordered = places[rows[order]]
        cosines = np.clip(products[order], -1, 1).astype(np.float32)
        bounds = np.searchsorted(queries[order], np.arange(len(self.queries) + 1)).tolist()
        return [
            Hits(ordered[start : min(start + self.n, end)], cosines[start : min(start + self.n, end)])
            for start, end in pairwise(bounds)
        ]
