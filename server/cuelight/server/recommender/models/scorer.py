"""What every model is: scores from histories, and the reasons for a score.

`tests/server/recommender/test_model_contract.py` holds each model to it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.history import History

__all__ = ["ROUNDING", "Reason", "Scorer", "shares_of_items"]

ROUNDING = 1e-12
"""A score up to so much from 0 is none: EASE's, after updates, is off by some 1e-16 where nothing is in common."""


class Reason(NamedTuple):
    """A part of a score: from an item of the history (`item`, its place) or from a property (`feature`, its name).

    A tuple, because a shelf has a thousand of them.
    """

    share: float
    item: int | None = None
    feature: str = ""


_reason: Callable[[tuple[float, int | None, str]], Reason] = partial(tuple.__new__, Reason)
"""What `Reason` does with a tuple of all fields, without the Python function in between."""


class Scorer(Protocol):
    """A model that is fitted. It may learn about others; the asking user's history comes with the call."""

    name: str

    def scores(self, histories: Sequence[History]) -> NDArray[np.float64]:
        """Return the score of every item for every history, (histories, items), the history's own items included.

        Higher is better; scores of one model are comparable within one history only. An empty history scores 0
        everywhere in models that know the user by the history alone.
        """
        ...

    def reasons(self, history: History, items: NDArray[np.int64]) -> list[tuple[Reason, ...]]:
        """Return what made the score of each of some items (k,), largest share first; the shares add up to the score.

        A reason that names an item names one of the history. Shares that are 0 are left out.
        """
        ...


def shares_of_items(items: NDArray[np.int64], shares: NDArray[np.float64]) -> list[tuple[Reason, ...]]:
    """Return reasons for shares (k, h) of history items (h,), largest first; equal ones in the items' order."""
    orders = np.argsort(-shares, axis=1, kind="stable")
    return [
        tuple(map(_reason, zip(one[order].tolist(), items[order].tolist(), repeat(""), strict=False)))
        for one, order in ((one, order[one[order] != 0]) for one, order in zip(shares, orders, strict=True))
    ]
