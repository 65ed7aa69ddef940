"""How often items are liked together, and the inverse of that: learned and unlearned exactly, without a refit.

    G = X'X          (rows, rows): what item-based cosine and EASE know of the interactions X (users, items)
    (G + lambda I)^-1

An item has a row once somebody likes it, so a catalogue may be large as long as what is liked is not. A user's row that
changes from x to x + d changes G by x d' + d x' + d d': rank two, whatever the length of the row. Forgetting a user is
d = -x. With whole weights G is exact; the inverse drifts by rounding, which `drift` measures and an update `anew`
undoes.
"""

import mmap
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.history import History, RowChange
from cuelight.server.recommender.interaction_table import InteractionTable
from cuelight.server.recommender.inverse_update import Difference, GramCopy, InverseUpdate
from cuelight.server.recommender.item_rows import ItemRows
from cuelight.server.recommender.low_rank_inverse import LowRankInverse

__all__ = ["DRIFT_LIMIT", "Gram", "GramChange"]

DRIFT_LIMIT = 1e-9
"""Of |(G + lambda I) P - I|: a thousand times below what answers are compared with after a refit, 1e-6."""

_DRIFT_COLUMNS = 4
_DRIFT_ROWS = 256
_FIT_ROWS = 512
_COPY_BYTES = 4_000_000
"""A slice of a copy takes about a millisecond."""
_SHARE_OF_ROOM = 8
"""Room for an eighth more rows: a quarter more memory, and a move for every so many new ones."""
_ANEW_FROM_SHARE = 4
"""Following k changes of n rows takes 4 k n^2 operations, inverting anew 2 n^3, and its copy time besides."""
_ANEW_FROM = 64


@dataclass(frozen=True, slots=True, eq=False)
class GramChange:
    """Which rows of G changed: `rows` (t,), and as they were `before` (t, n) and `diagonal_before` (n,)."""

    rows: NDArray[np.int64]
    before: NDArray[np.float64]
    diagonal_before: NDArray[np.float64]


class Gram:
    """G, which changes with every `learn`, and the inverse of G + `regularization` I, which follows by `settle`, or by
    `update` and `adopt` with the work between them done on another thread. One thread owns the Gram.

    Dense: 8 bytes a pair of rows, and as much again for the inverse.
    """

    def __init__(
        self, n_items: int, liked: NDArray[np.int64], regularization: float, max_rows: int | None = None
    ) -> None:
        """Make one of zeros with rows for the places `liked`, each once. `max_rows` reserves addresses for so many
        rows, no memory, so that G does not move when items come; `regularization` is EASE's lambda, above 0."""
        self.rows = ItemRows(n_items, liked)
        self.regularization = regularization
        self.changes_since_fit = 0
        """Rows that changed since the inverse was last computed from nothing."""
        self._counts = _zeros(len(liked), max_rows)
        self._inverse: LowRankInverse | None = None
        self._pending: list[Difference] = []
        self._copy: GramCopy | None = None
        self._is_followed = False
        """Whether there is an inverse, or will be one that does not know what is learned from now on."""

    @classmethod
    def fit(cls, table: InteractionTable, regularization: float, max_rows: int | None = None) -> "Gram":
        """Count what is in the table."""
        liked = table.liked()
        gram = cls(table.n_items, liked, regularization, max_rows)
        matrix = table.matrix()[:, liked]
        transposed = matrix.T.tocsr()
        for start in range(0, len(liked), _FIT_ROWS):
            part = slice(start, min(start + _FIT_ROWS, len(liked)))
            gram.counts[part] = (transposed[part] @ matrix).toarray()
        return gram

    @property
    def counts(self) -> NDArray[np.float64]:
        """G: (rows, rows)."""
        n = len(self.rows)
        return self._counts[:n, :n]

    @property
    def inverse(self) -> LowRankInverse:
        """(G + lambda I)^-1 of the first rows or all, and maybe more; as of the last time it was settled.

        Computed here and now if there is none yet.
        """
        if self._inverse is None:
            self._pending = []
            self._is_followed = True
            self._inverse = LowRankInverse.of(self.counts + self.regularization * np.eye(len(self.rows)))
        return self._inverse

    @property
    def has_inverse(self) -> bool:
        """Whether there is an inverse, if one that is behind."""
        return self._inverse is not None

    @property
    def pending(self) -> int:
        """How many changed rows the inverse does not know yet."""
        return len(self._pending)

    def known(self, history: History) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the rows and the weights of the history's items that have a row: both (k,), in the items' order."""
        rows = self.rows.of(history.items)
        has_row = rows >= 0
        return rows[has_row], history.weights[has_row]

    def rows_needed(self, changes: Sequence[RowChange]) -> int:
        """Return how many rows there are once these changes are learned."""
        return len(self.rows) + len(self._without_row(changes))

    def learn(self, changes: Sequence[RowChange]) -> GramChange:
        """Take changed rows into G, each user's at most once, and return which rows of G changed."""
        self._add_rows(self._without_row(changes))
        differences = [self._difference(change) for change in changes]
        touched = np.unique(np.concatenate([each.rows[each.moved] for each in differences]))
        counts = self.counts
        before = GramChange(touched, counts[touched], counts.diagonal().copy())
        for each in differences:
            moved = each.moved
            rows, added = each.rows[moved], each.added[moved]
            if len(rows) == 1:
                counts[each.rows, rows[0]] += each.old * added[0]
                counts[rows[0], each.rows] += added[0] * (each.old + each.added)
            elif len(rows):
                counts[np.ix_(each.rows, rows)] += np.outer(each.old, added)
                counts[np.ix_(rows, each.rows)] += np.outer(added, each.old + each.added)
        if self._is_followed:
            self._pending += differences
        if self._copy is not None:
            self._copy.touched.append(touched)
        return before

    def anew_is_less(self) -> bool:
        """Whether inverting anew is less work than following what is pending, or there is nothing to follow from."""
        return self._inverse is None or len(self._pending) > max(_ANEW_FROM, len(self.rows) // _ANEW_FROM_SHARE)

    def update(self) -> InverseUpdate:
        """Return how the inverse comes to know all that G knows: to be computed, then adopted, before the next one."""
        inverse, differences = self.inverse, self._pending
        self._pending = []
        self.changes_since_fit += len(differences)
        n = len(self.rows)
        n = len(inverse) if n <= len(inverse) else n + n // _SHARE_OF_ROOM
        return InverseUpdate(inverse, differences, n, self.regularization)

    def begin_copy(self, slice_bytes: int = _COPY_BYTES) -> GramCopy:
        """Begin an update anew, from G alone: `copy_some` until it is complete, compute it, adopt it."""
        n = len(self.rows)
        room = n + n // _SHARE_OF_ROOM
        self._copy = GramCopy(np.zeros((room, room)), n, slice_bytes)
        return self._copy

    def copy_some(self, copy: GramCopy) -> bool:
        """Copy another slice; return whether the copy is complete: then it knows all that G knows."""
        if copy.copied < copy.rows:
            part = slice(copy.copied, min(copy.rows, copy.copied + max(1, copy.slice_bytes // (8 * copy.rows))))
            copy.matrix[part, : copy.rows] = self._counts[part, : copy.rows]
            copy.copied = part.stop
            return False
        n = len(self.rows)
        if n > len(copy.matrix):
            room = n + n // _SHARE_OF_ROOM
            copy.matrix, copy.rows, copy.copied, copy.touched = np.zeros((room, room)), n, 0, []
            return False
        self._repair(copy)
        self._copy = None
        self._pending = []
        self._is_followed = True
        self.changes_since_fit = 0
        return True

    def adopt(self, inverse: LowRankInverse) -> None:
        """Answer with a computed update from now on."""
        self._inverse = inverse

    def settle(self, anew: bool = False) -> None:
        """Let the inverse know all that G knows, here and now."""
        if anew:
            copy = self.begin_copy()
            while not self.copy_some(copy):
                pass
            self.adopt(copy.computed())
        elif self._pending:
            self.adopt(self.update().computed())

    def widen(self, n_items: int) -> None:
        """Make room for items up to `n_items`, which nobody likes yet."""
        self.rows.widen(n_items)

    def drift(self, seed: int = 0) -> float:
        """Return the largest of some entries of (G + lambda I) P - I, drawn with `seed`: 0 without rounding.

        Settle first: what is pending would count as drift.
        """
        n = len(self.rows)
        drawn = np.random.default_rng(seed).permutation(n)[:_DRIFT_ROWS].astype(np.int64)
        columns = drawn[:_DRIFT_COLUMNS]
        inverse = self.inverse.rows(columns)[:, :n]
        residual = inverse @ self.counts[drawn].T + self.regularization * inverse[:, drawn]
        residual[range(len(columns)), range(len(columns))] -= 1
        return float(np.abs(residual).max(initial=0))

    def _repair(self, copy: GramCopy) -> None:
        """Copy again what changed while the copy was made, put lambda on its diagonal and 1 / lambda in its room."""
        n = len(self.rows)
        touched = np.unique(np.concatenate([np.empty(0, np.int64), *copy.touched]))
        copy.matrix[touched, :n] = self._counts[touched, :n]
        copy.matrix[:n, touched] = self._counts[:n, touched]
        copy.matrix[range(len(copy.matrix)), range(len(copy.matrix))] += self.regularization

    def _without_row(self, changes: Sequence[RowChange]) -> NDArray[np.int64]:
        return self.rows.missing(np.concatenate([np.empty(0, np.int64), *(change.after.items for change in changes)]))

    def _difference(self, change: RowChange) -> Difference:
        items, old, added = change.difference()
        return Difference(self.rows.of(items), old, added)

    def _add_rows(self, places: NDArray[np.int64]) -> None:
        old = len(self.rows)
        self.rows.add(places)
        if len(self.rows) > len(self._counts):
            room = _zeros(len(self.rows) + len(self.rows) // _SHARE_OF_ROOM)
            room[:old, :old] = self._counts[:old, :old]
            self._counts = room


def _zeros(n: int, reserved: int | None = None) -> NDArray[np.float64]:
    """Return zeros (n, n) at least; where the system can, (reserved, reserved) whose pages take memory once written."""
    if reserved is not None and reserved > n and hasattr(mmap, "MADV_NOHUGEPAGE"):
        with suppress(OSError, ValueError, OverflowError):
            pages = mmap.mmap(-1, 8 * reserved * reserved, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            pages.madvise(mmap.MADV_NOHUGEPAGE)  # a huge page would span a dozen rows and take memory for all of them
            return np.frombuffer(pages, np.float64).reshape(reserved, reserved)
    return np.zeros((n, n))
