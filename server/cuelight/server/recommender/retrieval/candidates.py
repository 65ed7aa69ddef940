"""Which rows can be among the n best of each query, told from products that are known within a bound.

Rows are dealt out to *blocks*, and of each block only its largest product is looked at: the n-th largest of those is
no larger than the n-th largest product, so whatever is more than twice the bound below it is out. What is left is
looked for in the few blocks that reach that far, instead of in all rows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Candidates", "find_candidates"]

_ROWS_A_BLOCK = 80
_BLOCKS_A_WANTED = 8
"""At least so many blocks for each row that is wanted: fewer, and the best ones meet in one block too often."""
_BLOCKS_HIT_AT_MOST = 50
"""For each row that is wanted: beyond it the products tell too little."""
_LEAST_HIT_AT_MOST = 400


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Pairs of `queries` (c,) and `rows` (c,) that are to be looked at, in the order of the queries.

    `unclear` (q,) bool: queries with so many that they have none here; all rows are to be looked at.
    """

    queries: NDArray[np.int64]
    rows: NDArray[np.int64]
    unclear: NDArray[np.bool_]


def find_candidates(products: NDArray[Any], bounds: NDArray[Any], n: int, lowest: int | float) -> Candidates:
    """Return what can be among the `n` largest of each column of `products` (rows, q), each within its bound (q,).

    What is not above `lowest` is out. There are at least n rows.
    """
    n_rows, n_queries = products.shape
    size = max(1, min(_ROWS_A_BLOCK, n_rows // (_BLOCKS_A_WANTED * n)))
    n_blocks = n_rows // size
    dealt = products[: n_blocks * size].reshape(size, n_blocks, n_queries)
    maxima = np.ascontiguousarray(dealt.max(axis=0).T)
    rest = products[n_blocks * size :]
    threshold = np.partition(maxima, n_blocks - n, axis=1)[:, n_blocks - n] - 2 * bounds
    reached = (maxima >= threshold[:, np.newaxis]) & (maxima > lowest)
    unclear = reached.sum(axis=1) > max(_LEAST_HIT_AT_MOST, _BLOCKS_HIT_AT_MOST * n)
    reached[unclear] = False
    queries, blocks = np.nonzero(reached)
    found = dealt[:, blocks, queries]
    which, pair = np.nonzero((found >= threshold[queries]) & (found > lowest))
    late_row, late_query = np.nonzero((rest >= threshold) & (rest > lowest) & ~unclear)
    all_queries = np.concatenate([queries[pair], late_query])
    all_rows = np.concatenate([which * n_blocks + blocks[pair], late_row + n_blocks * size])
    order = np.argsort(all_queries, kind="stable")
    return Candidates(all_queries[order], all_rows[order], unclear)
