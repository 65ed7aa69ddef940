"""The terms that items are described by, kept as numbers, so that a change to one item reads that item's text alone."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["ItemTerms"]

_NONE = np.empty(0, np.int64)
_DEAD_LEAST = 1000


class ItemTerms:
    """Terms by item. Whoever computes with it owns it; one update follows the other."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._rows: list[NDArray[np.int64]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def widen(self, n_items: int) -> None:
        """Make room for items up to `n_items`, without terms."""
        self._rows += [_NONE] * (n_items - len(self._rows))

    def put(self, place: int, terms: Sequence[str]) -> None:
        """Set an item's terms, all of them anew; a term that comes twice counts twice."""
        numbers = self._numbers
        self._rows[place] = (
            np.array([numbers.setdefault(term, len(numbers)) for term in terms], np.int64) if terms else _NONE
        )

    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[str, ...]]:
        """Return the terms of all items one after the other, (all,), where each item's end, (items + 1,), and names.

        A term's number is its place in the names, which are those that any item has.
        """
        columns = np.concatenate([_NONE, *self._rows])
        ends = np.cumsum(np.fromiter(map(len, [_NONE, *self._rows]), np.int64, len(self._rows) + 1))
        is_used = np.bincount(columns, minlength=len(self._numbers)) > 0
        renumbered = np.cumsum(is_used) - 1
        names = tuple(name for name, used in zip(self._numbers, is_used.tolist(), strict=True) if used)
        if len(self._numbers) > _DEAD_LEAST + 2 * len(names):
            self._rows = [renumbered[row] for row in self._rows]
            self._numbers = {name: number for number, name in enumerate(names)}
        return renumbered[columns], ends, names
