"""Which places of a shelf go to items from further down, and to which: drawn, and the same for the same seed.

Without it a recommender learns only of what it shows already. How many places: n times the share, a fraction by a
draw. Which ones: any, each as likely. Which items: without replacement from those below the shelf, one of rank r with a
weight of 1/r, so the next best come often and the last ones sometimes. The best keep their order in the other places.
"""

import hashlib
import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Draw", "draw", "generator_of", "mixed", "new_seed"]

_SEEDS = 2**53 - 1
"""Seeds that the server chooses are whole numbers that every client has, JavaScript's doubles too; 0 is for none."""


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """`places` (k,) of the shelf, from 0, ascending; and `below` (k,), how far below the shelf each one's item is."""

    places: NDArray[np.int64]
    below: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.places)


def new_seed() -> int:
    """Return a seed that nobody can foresee, 1 to 2^53 - 1."""
    return secrets.randbelow(_SEEDS) + 1


def generator_of(seed: int, who: str) -> np.random.Generator:
    """Return what is drawn with for somebody: who asks together gets draws of their own from one seed."""
    digest = hashlib.blake2b(who.encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest)])


def draw(generator: np.random.Generator, n: int, n_below: int, share: float) -> Draw:
    """Draw for a shelf of `n` items with `n_below` more below it; fewer places where there are too few.

    The item that is 0, 1, ... below has the rank n + 1, n + 2, ...

    Source: to draw without replacement in proportion to weights is to take whoever comes first, each after an
    exponential time with its weight as the rate: Efraimidis and Spirakis, Weighted random sampling with a reservoir,
    2006.
    """
    whole, fraction = divmod(n * share, 1)
    wanted = int(whole) + int(generator.random() < fraction)
    count = min(wanted, n, n_below)
    places = np.sort(generator.permutation(n)[:count])
    comes = generator.standard_exponential(n_below) * np.arange(n + 1, n + n_below + 1)
    first = np.argpartition(comes, count - 1)[:count] if count else np.empty(0, np.int64)
    below = first[np.argsort(comes[first])]
    return Draw(places, below)


def mixed(best: NDArray[np.int64], drawn: Draw, explored: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a shelf as long as `best` (n,): the items `explored` (k,) at the drawn places, the best at the others."""
    shelf = np.empty(len(best), np.int64)
    is_drawn = np.zeros(len(best), np.bool_)
    is_drawn[drawn.places] = True
    shelf[is_drawn] = explored
    shelf[~is_drawn] = best[: len(best) - len(drawn)]
    return shelf
