"""The tables of embeddings: one blob of little-endian float32 an item and space."""

import sqlite3
from collections.abc import Iterable, Mapping

import numpy as np

from cuelight.server.errors import InvalidRequest
from cuelight.server.recommender.embeddings import MAX_SPACES, SpaceVectors, Vector
from cuelight.server.recommender.store.damage import Damaged

__all__ = ["EmbeddingTable"]

_NUMBER_BYTES = 4
_STORED = "<f4"
_ROWS_AT_ONCE = 16384
_DELETE = "DELETE FROM embeddings WHERE space IN (SELECT number FROM spaces) AND item = ?"
_ADD_SPACE = "INSERT INTO spaces (name) VALUES (?) ON CONFLICT DO NOTHING"
_LENGTH = f"SELECT length(vector) / {_NUMBER_BYTES} FROM embeddings WHERE space = ? LIMIT 1"
_DROP_EMPTY_SPACES = "DELETE FROM spaces WHERE NOT EXISTS (SELECT 1 FROM embeddings WHERE space = number)"
_COUNTS = "SELECT name, number, count(*) FROM spaces JOIN embeddings ON space = number GROUP BY number ORDER BY name"


class EmbeddingTable:
    """Reads and writes embeddings by the items' places, within the store's transactions. The store owns it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def replace(self, items: Iterable[tuple[int, str, Mapping[str, Vector]]]) -> None:
        """Set all embeddings of items anew: place, id and vectors by space of each.

        The length of a space is that of the vectors which stay in it, or else of the first that comes. Raises:
        InvalidRequest naming the item and the space where a vector has another one, or where a space is one too many.
        """
        told = list(items)
        self.delete(place for place, _, _ in told)
        names = {space: item for _, item, vectors in reversed(told) for space in vectors}
        self._check_room(names)
        numbers = {name: self._number_of(name) for name in names}
        lengths = {name: self._length_of(number) for name, number in numbers.items()}
        rows = []
        for place, item, vectors in told:
            for space, vector in vectors.items():
                expected = lengths[space] = lengths[space] or len(vector)
                if len(vector) != expected:
                    raise InvalidRequest(
                        f'item "{item}": embeddings: space "{space}": expected {expected} numbers as the others there '
                        f"have, got {len(vector)}"
                    )
                rows.append((numbers[space], place, vector.astype(_STORED).tobytes()))
        self._connection.executemany("INSERT INTO embeddings (space, item, vector) VALUES (?, ?, ?)", rows)

    def delete(self, places: Iterable[int]) -> None:
        """Delete all embeddings of items."""
        self._connection.executemany(_DELETE, ((place,) for place in places))

    def of_item(self, place: int) -> dict[str, Vector]:
        """Return the vectors of one item by space, in the order of the spaces' names."""
        found = self._connection.execute(
            "SELECT name, vector FROM spaces JOIN embeddings ON space = number WHERE item = ? ORDER BY name", (place,)
        )
        return {name: np.frombuffer(vector, _STORED).astype(np.float32) for name, vector in found}

    def load(self) -> dict[str, SpaceVectors]:
        """Return all vectors by space. Raises: Damaged when those of a space are not of one length."""
        return {
            name: self._loaded(name, number, count)
            for name, number, count in self._connection.execute(_COUNTS).fetchall()
        }

    def _loaded(self, name: str, number: int, count: int) -> SpaceVectors:
        length = self._length_of(number)
        vectors = np.empty((count, length), np.float32)
        places = np.empty(count, np.int64)
        found = self._connection.execute("SELECT item, vector FROM embeddings WHERE space = ?", (number,))
        start = 0
        while rows := found.fetchmany(_ROWS_AT_ONCE):
            if {len(vector) for _, vector in rows} != {length * _NUMBER_BYTES} or not length:
                raise Damaged(f'embeddings: space "{name}": expected vectors of one length')
            end = start + len(rows)
            places[start:end] = [place for place, _ in rows]
            vectors[start:end] = np.frombuffer(b"".join(vector for _, vector in rows), _STORED).reshape(-1, length)
            start = end
        return SpaceVectors(places, vectors)

    def _check_room(self, names: Mapping[str, str]) -> None:
        """Refuse spaces, given with an item of each, for which there is no room; those that are empty make some."""
        there = self._there()
        if names.keys() <= there.keys() or len(names.keys() | there.keys()) <= MAX_SPACES:
            return
        self._connection.execute(_DROP_EMPTY_SPACES)
        there = self._there()
        new = [space for space in names if space not in there]
        if new and len(there) + len(new) > MAX_SPACES:
            space = new[max(MAX_SPACES - len(there), 0)]
            raise InvalidRequest(
                f'item "{names[space]}": embeddings: space "{space}": expected {MAX_SPACES} spaces in all items at '
                "most, got one more"
            )

    def _there(self) -> dict[str, None]:
        return dict.fromkeys(name for (name,) in self._connection.execute("SELECT name FROM spaces"))

    def _number_of(self, space: str) -> int:
        self._connection.execute(_ADD_SPACE, (space,))
        [number] = self._connection.execute("SELECT number FROM spaces WHERE name = ?", (space,)).fetchone()
        return int(number)

    def _length_of(self, number: int) -> int:
        found = self._connection.execute(_LENGTH, (number,)).fetchone()
        return 0 if found is None else int(found[0])
