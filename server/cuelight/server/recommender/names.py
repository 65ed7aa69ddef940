"""Ids and places, both ways."""

from collections.abc import Mapping

__all__ = ["Names"]


class Names:
    """Which id has which place. One thread owns it."""

    def __init__(self, places: Mapping[str, int]) -> None:
        self._places = dict(places)
        self._ids = {place: name for name, place in places.items()}
        self._width = max(self._ids, default=-1) + 1

    def __len__(self) -> int:
        return len(self._places)

    @property
    def width(self) -> int:
        """One more than the highest place that was ever taken."""
        return self._width

    def place(self, name: str) -> int | None:
        """Return the place of an id, None where it is not known."""
        return self._places.get(name)

    def id_at(self, place: int) -> str:
        """Return the id at a place that is taken."""
        return self._ids[place]

    def add(self, places: Mapping[str, int]) -> None:
        """Take in new ids."""
        self._places.update(places)
        self._ids.update((place, name) for name, place in places.items())
        self._width = max(self._width, *(place + 1 for place in places.values()), 0)

    def remove(self, name: str) -> None:
        """Drop an id that is known."""
        del self._ids[self._places.pop(name)]
