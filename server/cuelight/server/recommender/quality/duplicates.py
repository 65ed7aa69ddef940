"""Rows that tell what another row told, or the contrary of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.importing.interactions import Interactions

__all__ = ["Duplicates", "find_duplicates", "first_alike"]


@dataclass(frozen=True, slots=True, eq=False)
class Duplicates:
    """Which rows they are: (rows,) each. A row that is none of the first three is the first of its user with its item.

    Thus rows = pairs of user and item + repeated + contradicting + changed.
    """

    repeated: NDArray[np.bool_]
    """User, item, time and value as in an earlier row."""
    contradicting: NDArray[np.bool_]
    """User, item and time as in an earlier row, with a value that none of those had."""
    changed: NDArray[np.bool_]
    """User and item as in an earlier row, at a time of its own."""
    reused_ids: NDArray[np.bool_]
    """An event id that an earlier row has for something else."""


def find_duplicates(told: Interactions) -> Duplicates:
    """Sort rows by what they repeat."""
    row = np.arange(len(told))
    pair = first_alike(told.users, told.items)
    moment = first_alike(pair, told.times_s)
    same = first_alike(moment, told.values)
    repeated = same != row
    contradicting = (moment != row) & ~repeated
    return Duplicates(repeated, contradicting, (pair != row) & (moment == row), _reused(told, same))


def first_alike(*columns: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return for each row the first row that has the same in all columns: (rows,)."""
    order = np.lexsort(columns[::-1])  # stable: of rows alike the first comes first
    starts = np.ones(len(order), np.bool_)
    starts[1:] = np.any([column[order][1:] != column[order][:-1] for column in columns], axis=0)
    first = np.empty(len(order), np.int64)
    first[order] = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
    return first


def _reused(told: Interactions, same: NDArray[np.int64]) -> NDArray[np.bool_]:
    if told.event_ids is None:
        return np.zeros(len(told), np.bool_)
    _, ids = np.unique(np.asarray(told.event_ids), return_inverse=True)
    return np.asarray(same != same[first_alike(ids)], np.bool_)
