"""The matrix users x items that models are fitted to, row by row in memory."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.history import NOBODY, History, RowChange, stacked
from cuelight.server.recommender.row_products import RowProducts

__all__ = ["InteractionTable"]


class InteractionTable:
    """Every user's row. One thread owns it, the same that owns the models.

    `n_items` is the width; it grows when items come and never shrinks, so that places stay valid.
    """

    def __init__(self, n_items: int, rows: Iterable[History] = ()) -> None:
        self.n_items = n_items
        self._rows = list(rows)
        self._matrix: Any = None
        self._products: RowProducts | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, user: int) -> History:
        """Return a user's row, an empty one for a user not known here."""
        return self._rows[user] if 0 <= user < len(self._rows) else NOBODY

    def widen(self, n_items: int) -> None:
        """Make room for items up to `n_items`."""
        assert n_items >= self.n_items, "places of items stay valid"
        self.n_items = n_items
        self._matrix = None

    def replace(self, user: int, after: History) -> RowChange:
        """Put another row in a user's place and return what changed."""
        before = self.row(user)
        self._rows.extend([NOBODY] * (user + 1 - len(self._rows)))
        self._rows[user] = after
        self._matrix = None
        if self._products is not None:
            self._products.change(user)
        return RowChange(user, before, after)

    def products(self) -> RowProducts:
        """Return what makes products with every row, these as they are now."""
        if self._products is None or self._products.is_full:
            self._products = RowProducts(self._rows, self.n_items, self.row)
        return self._products

    def liked(self) -> NDArray[np.int64]:
        """Return the places of items that anybody likes, ascending."""
        return np.flatnonzero(np.bincount(self.matrix().indices, minlength=self.n_items))

    def matrix(self) -> Any:
        """Return the rows as a sparse matrix (users, n_items) float64; kept until something changes."""
        if self._matrix is None:
            self._matrix = stacked(self._rows, self.n_items)
        return self._matrix
