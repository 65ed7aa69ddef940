"""What somebody liked: the rows that models score from and learn from.

Users and items are numbers here, places in the store's own order; ids in text stay at the edge.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

__all__ = ["NOBODY", "History", "RowChange", "stacked"]


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """One row of the matrix users x items; `History.of` brings it into order.

    `items` (h,) int64, ascending, each once; `weights` (h,) float64, finite, not 0; `times_s` (h,) float64, Unix time.
    `user` is the row's place among the known users, for models that compare users and must leave out the asking one.
    """

    items: NDArray[np.int64]
    weights: NDArray[np.float64]
    times_s: NDArray[np.float64]
    user: int | None = None

    @classmethod
    def of(
        cls, items: ArrayLike, weights: ArrayLike = 1.0, times_s: ArrayLike = 0.0, user: int | None = None
    ) -> "History":
        """Build a history in any order; a single weight or time stands for all items. An item must not come twice."""
        places = np.asarray(items, np.int64)
        order = np.argsort(places, kind="stable")
        spread_weights = np.broadcast_to(np.asarray(weights, np.float64), places.shape)
        spread_times_s = np.broadcast_to(np.asarray(times_s, np.float64), places.shape)
        return cls(places[order], spread_weights[order], spread_times_s[order], user)

    def __len__(self) -> int:
        return len(self.items)

    def same_as(self, other: "History") -> bool:
        """Whether both hold the same items, weights and times."""
        return (
            np.array_equal(self.items, other.items)
            and np.array_equal(self.weights, other.weights)
            and np.array_equal(self.times_s, other.times_s)
        )


NOBODY = History.of([])
"""The history of somebody who is not known."""


@dataclass(frozen=True, slots=True, eq=False)
class RowChange:
    """A user's row as it was and as it is now; an empty one stands for a user who was not, or is no longer, there."""

    user: int
    before: History
    after: History

    def difference(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Return the items of either row, the old weights and what was added to each: all (h,), items ascending."""
        items = np.concatenate([self.before.items, self.after.items])
        items.sort(kind="stable")
        items = items[np.append(np.diff(items) != 0, np.ones(min(len(items), 1), np.bool_))]
        old = np.zeros(len(items))
        added = np.zeros(len(items))
        old[items.searchsorted(self.before.items)] = self.before.weights
        added[items.searchsorted(self.after.items)] = self.after.weights
        added -= old
        return items, old, added


def stacked(histories: Sequence[History], n_items: int) -> Any:
    """Return the histories as one sparse matrix (histories, n_items) float64."""
    lengths = np.array([0, *(len(history) for history in histories)])
    items = np.concatenate([NOBODY.items, *(history.items for history in histories)])
    weights = np.concatenate([NOBODY.weights, *(history.weights for history in histories)])
    return csr_array((weights, items, np.cumsum(lengths)), shape=(len(histories), n_items))
