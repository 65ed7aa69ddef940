"""Decodes that are stepped together, one a row, however long the past of each is.

Pasts end together: a shorter one is filled up in front and masked there. What the encoder heard is filled up behind, to
the longest window, and masked too. Each step puts one more token behind every past.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rows"]

Array = NDArray[np.float32]

_NEVER = np.float32(-1e9)
"""Added to the score of what is not there."""


class Rows:
    """`past` are arrays (rows, heads, tokens, width), `states` (rows, states, width) and `keys` (rows, width, states).

    `lengths` says how many tokens each has consumed, `counts` how many states each has.
    """

    def __init__(self, past: list[Array], states: Array, keys: Array, lengths: list[int], counts: list[int]) -> None:
        self.past = past
        self.states = states
        self.keys = keys
        self.lengths = lengths
        self.counts = counts

    def __len__(self) -> int:
        return len(self.lengths)

    def truncate(self, length: int) -> None:
        """Forget all but the first `length` tokens of rows that have equally many."""
        self.past = [array[:, :, :length] for array in self.past]
        self.lengths = [length] * len(self)

    @staticmethod
    def gathered(parts: "Sequence[tuple[Rows, Sequence[int]]]") -> "Rows":
        """Return chosen rows of several batches as one, no wider than it must be; what stays is copied once."""
        lengths = [part.lengths[row] for part, rows in parts for row in rows]
        counts = [part.counts[row] for part, rows in parts for row in rows]
        longest, widest = max(lengths), max(counts)
        first = parts[0][0]
        past = [np.zeros((len(lengths), one.shape[1], longest, one.shape[3]), np.float32) for one in first.past]
        states = np.zeros((len(lengths), widest, first.states.shape[2]), np.float32)
        keys = np.zeros((len(lengths), first.states.shape[2], widest), np.float32)
        to = 0
        for part, rows in parts:
            for row in rows:
                length, count = part.lengths[row], part.counts[row]
                for target, source in zip(past, part.past, strict=True):
                    target[to, :, longest - length :] = source[row, :, source.shape[2] - length :]
                states[to, :count] = part.states[row, :count]
                keys[to, :, :count] = part.keys[row, :, :count]
                to += 1
        return Rows(past, states, keys, lengths, counts)

    def state_bias(self) -> Array:
        """Return what masks the states that are not there, (rows, 1, states)."""
        there = np.arange(self.states.shape[1]) < np.array(self.counts)[:, np.newaxis]
        return np.where(there, np.float32(0), _NEVER)[:, np.newaxis]

    def step_bias(self) -> Array:
        """Return what masks the pasts that are not there, for one more token each: (rows, 1, 1, tokens + 1)."""
        longest = self.past[0].shape[2]
        there = np.arange(longest + 1) >= longest - np.array(self.lengths)[:, np.newaxis]
        return np.where(there, np.float32(0), _NEVER)[:, np.newaxis, np.newaxis]
