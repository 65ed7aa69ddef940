"""The decoder's inputs for every hypothesis that is stepped, a row each: what moves with it and what stays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Arrays", "Rows"]

Arrays = Mapping[str, NDArray[Any]]


class Rows:
    """`states` (rows, ...) change with every step, `fixed` (rows, ...) are what the encoder gave. Same sizes always."""

    def __init__(self, states: Arrays, fixed: Arrays) -> None:
        self.states = states
        self.fixed = fixed

    @staticmethod
    def joined(parts: "Sequence[Rows]") -> "Rows":
        """Return the rows of several, in their order."""
        if len(parts) == 1:
            return parts[0]
        return Rows(
            {name: np.concatenate([part.states[name] for part in parts]) for name in parts[0].states},
            {name: np.concatenate([part.fixed[name] for part in parts]) for name in parts[0].fixed},
        )

    def picked(self, rows: Sequence[int], owners_stay: bool) -> "Rows":
        """Return these rows; where `owners_stay`, each is of the same request as the row that was at its place."""
        if owners_stay and list(rows) == list(range(len(rows))):
            return self
        at = np.array(rows, np.int64)
        fixed = self.fixed if owners_stay else {name: array[at] for name, array in self.fixed.items()}
        return Rows({name: array[at] for name, array in self.states.items()}, fixed)
