"""Which names the items' numbers have: each costs memory for every item there is, so there are only so many of them."""

from collections.abc import Callable, Iterable

from cuelight.server.errors import InvalidRequest
from cuelight.server.recommender.features import ItemAttributes

__all__ = ["MAX_NUMBER_NAMES", "NumberNames"]

MAX_NUMBER_NAMES = 1000


class NumberNames:
    """The names that items have, or had since the start: what was made for a name stays until the next one.

    The store owns it. `read` gives all items; it is called when something is asked before they were `seen`.
    """

    def __init__(self, read: Callable[[], Iterable[ItemAttributes | None]]) -> None:
        self._read = read
        self._names: set[str] | None = None

    def saw(self, items: Iterable[ItemAttributes | None]) -> None:
        """Take in the names of all items."""
        seen = {name for item in items if item is not None for name in item.numbers}
        self._names = seen | (self._names or set())

    def add(self, names: Iterable[str]) -> None:
        """Take in names that are kept from now on."""
        self._known().update(names)

    def check(self, item: str, names: Iterable[str], new: set[str]) -> None:
        """Add to `new` those of an item's names that neither are there nor in `new`.

        Raises: InvalidRequest naming the item and the first name for which there is no room.
        """
        for name in names:
            if name in new or name in self._known():
                continue
            if len(self._known()) + len(new) >= MAX_NUMBER_NAMES:
                raise InvalidRequest(
                    f'item "{item}": number "{name}": expected {MAX_NUMBER_NAMES} different names in all items at '
                    "most, got one more"
                )
            new.add(name)

    def _known(self) -> set[str]:
        if self._names is None:
            self.saw(self._read())
        assert self._names is not None
        return self._names
