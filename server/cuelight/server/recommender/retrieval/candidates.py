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

_ROWS_A_BLOCK = 32
_BLOCKS_A_WANTED = 8
"""At least so many blocks for each row that is wanted: fewer, and the best ones meet in one block too often."""
_BLOCKS_HIT_AT_MOST = 50
"""For each row that is wanted: beyond it the products tell too little."""
_LEAST_HIT_AT_MOST = 400


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Pairs of `queries` (c,) and `rows` (c,) that are to be looked at.

    `unclear` (q,) bool: queries with so many that they have none here; all rows are to be looked at.
    """

    queries: NDArray[np.int64]
    rows: NDArray[np.int64]
    unclear: NDArray[np.bool_]


def find_candidates(products: NDArray[Any], bounds: NDArray[Any], n: int, lowest: int | float) -> Candidates:
    """Return what can be among the `n` largest of each column of `products` (rows, q or more), each within its bound.

    `bounds` (q,) are of the same type; columns beyond q are passed over. What is below `lowest` is out. There are at
    least n rows.
    """
    n_rows, n_queries = len(products), len(bounds)
    size = max(1, min(_ROWS_A_BLOCK, n_rows // (_BLOCKS_A_WANTED * n)))
    n_blocks = n_rows // size
    dealt = products[: n_blocks * size].reshape(size, n_blocks, -1)
    maxima = np.ascontiguousarray(dealt.max(axis=0).T[:n_queries])
    nth = np.partition(maxima, n_blocks - n, axis=1)[:, n_blocks - n]
    threshold = np.maximum(nth - 2 * bounds, lowest)
    reached = maxima >= threshold[:, np.newaxis]
    unclear = np.count_nonzero(reached, axis=1) > max(_LEAST_HIT_AT_MOST, _BLOCKS_HIT_AT_MOST * n)
    reached[unclear] = False
    queries, blocks = np.divmod(np.flatnonzero(reached), n_blocks)
    which, pair = np.divmod(np.flatnonzero(dealt[:, blocks, queries] >= threshold[queries]), max(len(queries), 1))
    late_rows, late_queries = np.nonzero((products[n_blocks * size :, :n_queries] >= threshold) & ~unclear)
    all_queries = np.concatenate([queries[pair], late_queries])
    all_rows = np.concatenate([which * n_blocks + blocks[pair], late_rows + n_blocks * size])
    return Candidates(all_queries, all_rows, unclear)
