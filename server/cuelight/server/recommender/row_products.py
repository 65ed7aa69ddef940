"""Products of histories with every user's row, for as long as rows change: a base that is joined now and then, and the
rows that have changed since beside it.

    product with a user who changed    from the overlay, which is joined anew after a change: as many rows as changed
    with all others                    from the base, by item: only who likes something of the history is looked at
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from cuelight.server.recommender.growing import Growing
from cuelight.server.recommender.history import History, stacked

__all__ = ["RowProducts"]

_OVERLAY_LEAST = 256
_OVERLAY_SHARE = 16
"""One user in so many may be in the overlay before all is joined anew."""


class RowProducts:
    """One thread owns it, the same that owns the rows; `row` returns a user's row as it is now."""

    def __init__(self, rows: Sequence[History], n_items: int, row: Callable[[int], History]) -> None:
        self._row = row
        self._changed: dict[int, None] = {}
        self._overlay: Any = None
        self._by_item: Any = None
        self._norms = Growing(0, 0.0, np.float64)
        self._join(rows, n_items)

    def __len__(self) -> int:
        return len(self._norms)

    @property
    def norms(self) -> NDArray[np.float64]:
        """The length of each user's row: (users,)."""
        return self._norms.view

    @property
    def is_full(self) -> bool:
        """Whether so many rows have changed that it is time to join all of them anew."""
        return len(self._changed) > max(_OVERLAY_LEAST, len(self) // _OVERLAY_SHARE)

    def change(self, user: int) -> None:
        """Look at a user's row again."""
        self._norms.widen(max(len(self), user + 1))
        self._norms.view[user] = np.sqrt(np.sum(self._row(user).weights ** 2))
        self._changed[user] = None
        self._overlay = None

    def with_all(self, asking: Any) -> NDArray[np.float64]:
        """Return the products of sparse rows (m, items) with every user's: (m, users)."""
        products = np.zeros((asking.shape[0], len(self)))
        if asking.shape[1] > self._by_item.shape[0]:
            self._by_item = _with_rows(self._by_item, asking.shape[1])
        base: NDArray[np.float64] = (asking @ self._by_item).toarray()
        products[:, : base.shape[1]] = base
        if self._changed:
            if self._overlay is None or self._overlay.shape[0] < asking.shape[1]:
                changed = stacked([self._row(user) for user in self._changed], asking.shape[1])
                self._overlay = changed.T.tocsr()
            products[:, list(self._changed)] = (asking @ self._overlay).toarray()
        return products

    def _join(self, rows: Sequence[History], n_items: int) -> None:
        matrix = stacked(rows, n_items)
        self._by_item = matrix.T.tocsr()
        self._norms.widen(len(rows))
        self._norms.view[:] = np.sqrt((matrix * matrix).sum(axis=1))


def _with_rows(matrix: Any, n: int) -> csr_array:
    ends = np.pad(matrix.indptr, (0, n - matrix.shape[0]), mode="edge")
    return csr_array((matrix.data, matrix.indices, ends), shape=(n, matrix.shape[1]))
