"""What is liked most, where older likes may count less."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.history import NOBODY, History, RowChange
from cuelight.server.recommender.interaction_table import InteractionTable
from cuelight.server.recommender.models.scorer import Reason

__all__ = ["Popularity"]

_REBASE_HALF_LIVES = 512.0
"""Weights grow as 2^half-lives since the reference time; a double holds 1,023 of them."""


class Popularity:
    """An item's share of all weights, where a weight is halved every `half_life_s` (seconds).

    An infinite half-life counts all alike. The scores of all items add up to 1 and do not depend on the history.
    One thread owns it.

    Source: exponential decay, as in Cormode et al., Forward decay, ICDE 2009: weights relative to a fixed reference
    time, so that the passing of time alone changes nothing.
    """

    name = "popularity"

    def __init__(self, n_items: int, half_life_s: float = np.inf) -> None:
        self._half_life_s = half_life_s
        self._sums = np.zeros(n_items)
        self._reference_s = 0.0

    @classmethod
    def fit(cls, table: InteractionTable, half_life_s: float = np.inf) -> "Popularity":
        """Sum what is in the table."""
        model = cls(table.n_items, half_life_s)
        model.learn([RowChange(user, NOBODY, table.row(user)) for user in range(len(table))])
        return model

    def learn(self, changes: Sequence[RowChange]) -> None:
        """Take in changed rows."""
        newest_s = max((float(change.after.times_s.max(initial=-np.inf)) for change in changes), default=-np.inf)
        self._rebase(newest_s)
        np.add.at(self._sums, *self._grown([change.after for change in changes]))
        np.subtract.at(self._sums, *self._grown([change.before for change in changes]))

    def widen(self, n_items: int) -> None:
        """Make room for items up to `n_items`."""
        self._sums = np.append(self._sums, np.zeros(n_items - len(self._sums)))

    def scores(self, histories: Sequence[History]) -> NDArray[np.float64]:
        """Return (histories, items), every row the same; see `Scorer`."""
        return np.tile(self._shares(), (len(histories), 1))

    def reasons(self, history: History, items: NDArray[np.int64]) -> list[tuple[Reason, ...]]:
        """Return popularity itself, the one reason there is."""
        scores = self._shares()[items].tolist()
        return [(Reason(score, feature=self.name),) if score else () for score in scores]

    def _shares(self) -> NDArray[np.float64]:
        total = self._sums.sum()
        return self._sums / total if total > 0 else np.zeros_like(self._sums)

    def _grown(self, rows: Sequence[History]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the items of all rows, one after the other, and what their likes weigh at the reference time."""
        items = np.concatenate([NOBODY.items, *(row.items for row in rows)])
        weights = np.concatenate([NOBODY.weights, *(row.weights for row in rows)])
        times_s = np.concatenate([NOBODY.times_s, *(row.times_s for row in rows)])
        if np.isfinite(self._half_life_s):
            weights = weights * 2.0 ** ((times_s - self._reference_s) / self._half_life_s)
        return items, weights

    def _rebase(self, newest_s: float) -> None:
        if not self._sums.any():
            self._reference_s = newest_s if np.isfinite(newest_s) else self._reference_s
        elif (half_lives := (newest_s - self._reference_s) / self._half_life_s) > _REBASE_HALF_LIVES:
            self._sums *= np.exp2(-half_lives)
            self._reference_s = newest_s
