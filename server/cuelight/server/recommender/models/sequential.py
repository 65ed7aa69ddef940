"""The sequential Transformer: what comes next, by the order of what came before."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cuelight.server.recommender.history import History
from cuelight.server.recommender.models.scorer import Reason

__all__ = ["START", "Network", "Sequential"]

START = 0
"""The token before the first item; the item of number i is the token i + 1."""

_BEFORE_ANY = "popularity"
"""What the share is called that an item has before anything is known of the history."""


class Network(Protocol):
    """The Transformer: tokens (batch, 1 + h) int64, each row START and then items, behind its end anything."""

    def states(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the states at all places, (batch, 1 + h, width)."""
        ...

    def last(self, tokens: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return those at the places `ends` (batch,) alone, (batch, width)."""
        ...


class Sequential:
    """score(j) = chance that j comes next = softmax over all items of s' v_j, where s is the Transformer's state after
    the history, oldest item first; of items with one time the lower place counts as the older.

    The last `length` items count. Weights have no say. An item that the training did not know has no say in a history
    and scores 0, the lowest there is: every item it did know has a chance above 0. So has an item that came since.

    Reasons: the state after k items is that of a history of these k alone, so an item's share is what the chance of j
    rose or fell by when that item came, s_k against s_(k-1); beside them stands, as `popularity`, the chance that j had
    before any came, s_0. The shares add up to the score, whatever the network is.

    Immutable. One thread owns it and its session.

    Source: Kang and McAuley, Self-attentive sequential recommendation, ICDM 2018; trained on the softmax over all items
    as in Klenitskiy and Vasilev, Turning dross into gold loss, RecSys 2023. The shares are the terms of a telescoping
    sum, one order of the permutations in Štrumbelj and Kononenko, KAIS 2014.
    """

    name = "sequential"

    def __init__(
        self,
        network: "Network",
        vectors: NDArray[np.float64],
        places: NDArray[np.int64],
        length: int,
        n_items: int,
    ) -> None:
        """`vectors` (numbers, width) are those of the items trained on, `places` (numbers,) where these are among the
        `n_items` of the store, -1 for one that is not there any more.
        """
        self._network = network
        self._vectors = vectors
        self._places = places
        self._length = length
        self._n_items = n_items
        self._numbers = np.full(n_items, -1)
        self._numbers[places[places >= 0]] = np.flatnonzero(places >= 0)

    def widen(self, n_items: int) -> "Sequential":
        """Return the model with room for `n_items`; it does not know the new ones."""
        return Sequential(self._network, self._vectors, self._places, self._length, n_items)

    def scores(self, histories: Sequence[History]) -> NDArray[np.float64]:
        """Return (histories, items); see `Scorer`."""
        scores = np.zeros((len(histories), self._n_items))
        asking = [i for i, history in enumerate(histories) if len(history)]
        if asking:
            rows = [self._row(histories[i]) for i in asking]
            states = self._network.last(_tokens(rows), np.array([len(row) for row in rows]))
            chances = states @ self._vectors.T
            chances = np.exp(chances - _log_sums(chances)[:, None])
            here = self._places >= 0
            scores[np.ix_(np.array(asking), self._places[here])] = chances[:, here]
        return scores

    def reasons(self, history: History, items: NDArray[np.int64]) -> list[tuple[Reason, ...]]:
        """Return the shares of the history's items, and `popularity`; see `Scorer`."""
        if not len(history):
            return [() for _ in items]
        row, states, log_sums = self._prefixes(history)
        return [self._told(number, row, states, log_sums) for number in self._numbers[items].tolist()]

    def _told(
        self, number: int, row: NDArray[np.int64], states: NDArray[np.float64], log_sums: NDArray[np.float64]
    ) -> tuple[Reason, ...]:
        if number < 0:
            return ()
        chances = np.exp(states @ self._vectors[number] - log_sums)
        reasons = [Reason(float(chances[0]), feature=_BEFORE_ANY)]
        shares = np.diff(chances)
        reasons += [Reason(float(share), item=int(self._places[i])) for i, share in zip(row, shares, strict=True)]
        return tuple(sorted((one for one in reasons if one.share), key=lambda one: -one.share))

    def _prefixes(self, history: History) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Return the row (k,), the states after 0 to k of it (k + 1, width), and the softmax's log sums (k + 1,)."""
        row = self._row(history)
        [states] = self._network.states(_tokens([row]))
        return row, states, _log_sums(states @ self._vectors.T)

    def _row(self, history: History) -> NDArray[np.int64]:
        """Return the numbers of the last known items, oldest first."""
        order = np.lexsort((history.items, history.times_s))
        numbers = self._numbers[history.items[order]]
        return numbers[numbers >= 0][-self._length :]


def _tokens(rows: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    tokens = np.full((len(rows), 1 + max(map(len, rows))), START)
    for row, line in zip(rows, tokens, strict=True):
        line[1 : 1 + len(row)] = row + 1
    return tokens


def _log_sums(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log of the sum of exponentials of each row."""
    highest = logits.max(axis=-1)
    sums: NDArray[np.float64] = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=-1))
    return sums
