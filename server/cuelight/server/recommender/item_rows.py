"""Which items the Gram knows: the few of a large catalogue that anybody likes."""

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.growing import Growing

__all__ = ["ItemRows"]

_NONE = -1


class ItemRows:
    """Rows of the Gram by the item's place, and back. One thread owns it, the same that owns the Gram.

    An item gets its row with its first like and keeps it, even when nobody likes it any more: a row of zeros is exact.
    """

    def __init__(self, n_items: int, places: NDArray[np.int64]) -> None:
        """Give `places` (rows,), each once, the rows from 0 on; there are `n_items` items."""
        self._rows = Growing(n_items, _NONE, np.int64)
        self._places = Growing(0, 0, np.int64)
        self.add(places)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def n_items(self) -> int:
        """How many items there are, with and without a row."""
        return len(self._rows)

    @property
    def places(self) -> NDArray[np.int64]:
        """The item's place by row: (rows,)."""
        return self._places.view

    def of(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of items (k,), -1 for an item without one."""
        rows: NDArray[np.int64] = self._rows.view[places]
        return rows

    def missing(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of the items (k,), each once, that have no row."""
        return np.unique(places[self.of(places) == _NONE])

    def add(self, places: NDArray[np.int64]) -> None:
        """Give the next rows to items (k,) without one, each named once."""
        start = len(self._places)
        self._places.widen(start + len(places))
        self._places.view[start:] = places
        self._rows.view[places] = np.arange(start, start + len(places))

    def widen(self, n_items: int) -> None:
        """Make room for items up to `n_items`, which have no row yet."""
        self._rows.widen(n_items)

    def spread(self, by_row: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what is known by row, of the first rows or all (m, k), by item: (m, items), 0 for other items."""
        by_item = np.zeros((len(by_row), self.n_items))
        by_item[:, self.places[: by_row.shape[1]]] = by_row
        return by_item
