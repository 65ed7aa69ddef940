"""Arrays that get longer at the end without moving every time."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["Growing"]

_SHARE_OF_ROOM = 8
"""Room for an eighth more: a move for every so many new places, and an eighth more memory."""


class Growing:
    """A one-dimensional array and some room behind it. One thread owns it."""

    def __init__(self, n: int, fill: Any, dtype: DTypeLike) -> None:
        self._fill = fill
        self._room = np.full(n, fill, dtype)
        self._n = n

    def __len__(self) -> int:
        return self._n

    @property
    def view(self) -> NDArray[Any]:
        """The array (n,), to be read and written in place; not valid any more once it has grown."""
        return self._room[: self._n]

    def widen(self, n: int) -> None:
        """Make it `n` long, which is never shorter than it was; what is new holds the fill."""
        assert n >= self._n, "places stay valid"
        if n > len(self._room):
            room = np.full(n + n // _SHARE_OF_ROOM, self._fill, self._room.dtype)
            room[: self._n] = self.view
            self._room = room
        self._n = n
