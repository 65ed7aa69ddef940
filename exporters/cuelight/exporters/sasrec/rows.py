"""What everybody liked, as a network takes it: rows of tokens, oldest first.

Where several likes have one time their order is not known. It is drawn anew for every batch, so that the network
learns no order that nobody had; to be measured or asked, a row has the order of the items' numbers there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cuelight.exporters.sasrec.model import START

__all__ = ["NO_TARGET", "Likes", "batches", "newest_first_out", "padded"]

NO_TARGET = -100
"""Marks places that no loss is taken of. Source: the default of torch's cross_entropy."""


@dataclass(frozen=True, slots=True, eq=False)
class Likes:
    """One person's: `items` (n,) int64 numbers from 0 on, `times_s` (n,) float64, in the same order, any."""

    items: NDArray[np.int64]
    times_s: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.items)

    def in_order(self) -> NDArray[np.int64]:
        """Return the items oldest first, those of one time by their number."""
        return self.items[np.lexsort((self.items, self.times_s))]

    def in_drawn_order(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """Return the items oldest first, those of one time in an order that is drawn."""
        return self.items[np.lexsort((generator.random(len(self.items)), self.times_s))]


def newest_first_out(likes: Sequence[Likes]) -> tuple[list[Likes], list[tuple[NDArray[np.int64], int]]]:
    """Take everybody's newest like away; return what is left, and (what is left in order, the one taken) of each.

    Who has a single like keeps it.
    """
    left, taken = [], []
    for one in likes:
        if len(one) < 2:
            left.append(one)
            continue
        newest = int(np.lexsort((one.items, one.times_s))[-1])
        rest = Likes(np.delete(one.items, newest), np.delete(one.times_s, newest))
        left.append(rest)
        taken.append((rest.in_order(), int(one.items[newest])))
    return left, taken


def batches(
    likes: Sequence[Likes], length: int, size: int, generator: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield everybody once, in a drawn order: tokens (batch, up to 1 + length), and the item that comes next at each.

    A longer row is cut to a drawn piece of `length` items and the one after them, so that each place is learned.
    """
    people = [one for one in likes if len(one)]
    order = generator.permutation(len(people))
    for start in range(0, len(people), size):
        rows = [_piece(people[i].in_drawn_order(generator), length + 1, generator) for i in order[start : start + size]]
        tokens = padded([row[:-1] for row in rows])
        targets = torch.full(tokens.shape, NO_TARGET)
        for row, target in zip(rows, targets, strict=True):
            target[: len(row)] = torch.from_numpy(row)
        yield tokens, targets


def padded(rows: Sequence[NDArray[np.int64]]) -> Tensor:
    """Return rows of items as tokens (rows, 1 + the longest), START before and behind."""
    tokens = torch.full((len(rows), 1 + max(map(len, rows))), START)
    for row, line in zip(rows, tokens, strict=True):
        line[1 : 1 + len(row)] = torch.from_numpy(row) + 1
    return tokens


def _piece(row: NDArray[np.int64], length: int, generator: np.random.Generator) -> NDArray[np.int64]:
    start = generator.integers(0, max(0, len(row) - length) + 1)
    return row[start : start + length]
