"""What is known and what is held out: two protocols, each repeatable to the pair.

Users come in ascending order, and within a user items do; the order is that of the places in `liked`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.history import History
from cuelight.server.recommender.interaction_table import InteractionTable

__all__ = ["HELD_OUT_OF", "Split", "leave_last_out", "per_user_split"]

_SEED = 42
HELD_OUT_OF = 5
"""Of so many likes of a user one is held out."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """`known` holds a row a user; `held_out` a user's places of items that a good model ranks high, maybe none."""

    name: str
    known: InteractionTable
    held_out: tuple[NDArray[np.int64], ...]


def per_user_split(liked: Sequence[History], n_items: int, seed: int = _SEED) -> Split:
    """Hold out one in five of each user's items: the first n // 5 of a permutation, one generator for all users."""
    generator = np.random.default_rng(seed)
    chosen = [generator.permutation(len(row))[: len(row) // HELD_OUT_OF] for row in liked]
    return _split("per-user 80/20", liked, n_items, chosen)


def leave_last_out(liked: Sequence[History], n_items: int) -> Split:
    """Hold out each user's latest item; of several at that time the one with the highest place. One item is kept."""
    chosen = [np.lexsort((row.items, row.times_s))[-1:] if len(row) > 1 else np.empty(0, np.int64) for row in liked]
    return _split("leave-last-out", liked, n_items, chosen)


def _split(name: str, liked: Sequence[History], n_items: int, chosen: Sequence[NDArray[np.int64]]) -> Split:
    rows = []
    for user, (row, out) in enumerate(zip(liked, chosen, strict=True)):
        kept = np.delete(np.arange(len(row)), out)
        rows.append(History(row.items[kept], row.weights[kept], row.times_s[kept], user))
    held_out = tuple(row.items[np.sort(out)] for row, out in zip(liked, chosen, strict=True))
    return Split(name, InteractionTable(n_items, rows), held_out)
