"""Vectors of items by space: what callers tell of them, and a table of them that readers may hold on to.

A *space* is whatever made the vectors: a model of texts, of pictures, of sound. All vectors of a space are of one
length; only their direction counts.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cuelight.server.errors import InvalidRequest

__all__ = [
    "MAX_LENGTH",
    "MAX_SPACES",
    "MAX_SPACE_BYTES",
    "ItemEmbeddings",
    "SpaceVectors",
    "Vector",
    "VectorTable",
    "check_space",
    "check_vector",
    "unit_rows",
]

MAX_LENGTH = 4096
"""Numbers in a vector."""

MAX_SPACE_BYTES = 64

MAX_SPACES = 64
"""In all items together."""

_SURELY_NOT_0 = 1e-30
"""Of a sum of squares in float32: what is smaller, or too large for it, is looked at number by number."""
_LEAST_ROOM = 64
_ROWS_AT_ONCE = 8192
"""That are float64 at a time."""

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ItemEmbeddings:
    """All vectors of one item, by space, and what retrieval has to know of it besides."""

    item: str
    available: bool = True
    vectors: Mapping[str, Vector] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class SpaceVectors:
    """The vectors of one space: `vectors` (n, d) float32, as they were told; `places` (n,) int64, of their items.

    A place below 0 stands for a vector that counts no longer.
    """

    places: NDArray[np.int64]
    vectors: NDArray[np.float32]


class VectorTable:
    """The vectors of one space, added to and never written over: what was `seen` once stays as it was.

    One thread owns it; what it hands out may be read on any.
    """

    def __init__(self, told: SpaceVectors) -> None:
        self._vectors = told.vectors
        self._places = told.places.copy()
        self._rows = {place: row for row, place in enumerate(told.places.tolist()) if place >= 0}
        self._used = len(told.places)

    @classmethod
    def empty(cls, length: int) -> "VectorTable":
        """Return a table of nothing yet, for vectors of `length` numbers."""
        return cls(SpaceVectors(np.empty(0, np.int64), np.empty((0, length), np.float32)))

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, place: int, vector: Vector) -> None:
        """Set the vector (d,) of an item."""
        self.drop(place)
        if self._used == len(self._places):
            self._make_room()
        self._rows[place] = self._used
        self._places[self._used] = place
        self._vectors[self._used] = vector
        self._used += 1

    def get(self, place: int) -> Vector | None:
        """Return the vector of an item (d,), as it was told; None where it has none."""
        row = self._rows.get(place)
        return None if row is None else self._vectors[row]

    def drop(self, place: int) -> None:
        """Let the vector of an item count no longer, if it has one."""
        row = self._rows.pop(place, None)
        if row is not None:
            self._places[row] = -1

    def seen(self) -> SpaceVectors:
        """Return the vectors as they are now, without copying them."""
        return SpaceVectors(self._places[: self._used].copy(), self._vectors[: self._used])

    def _make_room(self) -> None:
        """Move what counts to a place with as much room again."""
        rows = np.flatnonzero(self._places[: self._used] >= 0)
        room = 2 * max(len(rows), _LEAST_ROOM)
        vectors = np.zeros((room, self._vectors.shape[1]), np.float32)
        vectors[: len(rows)] = self._vectors[rows]
        places = np.full(room, -1, np.int64)
        places[: len(rows)] = self._places[rows]
        self._vectors, self._places, self._used = vectors, places, len(rows)
        self._rows = {place: row for row, place in enumerate(places[: len(rows)].tolist())}


def check_space(space: str) -> str:
    """Return the name of a space. Raises: InvalidRequest when it is empty or too long."""
    if not 1 <= len(space.encode()) <= MAX_SPACE_BYTES:
        shown = space if len(space) <= MAX_SPACE_BYTES else f"{len(space.encode())} bytes"
        raise InvalidRequest(f'embeddings: space: expected 1 to {MAX_SPACE_BYTES} bytes of UTF-8, got "{shown}"')
    return space


def check_vector(of_what: str, values: Sequence[float] | Vector) -> Vector:
    """Return a vector (d,). Raises: InvalidRequest naming `of_what` when it is no direction in 1 to 4096 numbers."""
    if not 1 <= len(values) <= MAX_LENGTH:
        raise InvalidRequest(f"{of_what}: expected 1 to {MAX_LENGTH} numbers, got {len(values)}")
    vector = np.fromiter(values, np.float32, len(values))
    square = float(vector @ vector)
    if _SURELY_NOT_0 < square < math.inf:
        return vector
    if not np.isfinite(vector).all():
        at = int(np.argmin(np.isfinite(vector)))
        raise InvalidRequest(f"{of_what}: expected finite numbers, got {vector[at]} in place {at}")
    if not vector.any():
        raise InvalidRequest(f"{of_what}: expected a direction, got nothing but 0")
    return vector


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the rows (n, d), none of them all 0, at length 1; float32 of any size, tiny and huge ones included."""
    unit = np.empty(vectors.shape, np.float32)
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        part = vectors[start : start + _ROWS_AT_ONCE].astype(np.float64)
        unit[start : start + _ROWS_AT_ONCE] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return unit
