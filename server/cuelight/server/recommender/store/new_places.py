"""Which user and item has which place, while a transaction is under way."""

import sqlite3
from collections.abc import Mapping

from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.store.attribute_text import text_of
from cuelight.server.recommender.store.event_rows import Row
from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.number_names import NumberNames

__all__ = ["NewPlaces"]

_NEW_USER = "INSERT INTO users (place, id) SELECT coalesce(max(place) + 1, 0), ? FROM users RETURNING place"
_NEW_ITEM = (
    "INSERT INTO items (place, id, attributes) SELECT coalesce(max(place) + 1, 0), ?, ? FROM items RETURNING place"
)


class NewPlaces:
    """Places by id as they will be once the transaction is committed; new ids get one when they are asked for."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        users: Mapping[str, int],
        items: Mapping[str, int],
        number_names: NumberNames,
    ) -> None:
        self._connection = connection
        self._users = users
        self._items = items
        self._number_names = number_names
        self.new_users: dict[str, int] = {}
        self.new_items: dict[str, int] = {}
        self.new_number_names: set[str] = set()
        self.forgotten: frozenset[str] = frozenset()

    def row(self, event: Event) -> Row:
        """Return an event as the table holds it."""
        return event.id, self.user(event.user), self.item(event.item), event.value, event.time_s

    def user(self, user: str) -> int:
        """Return a user's place."""
        place = self._users.get(user, self.new_users.get(user))
        if place is None:
            place = self.new_users[user] = self._inserted(_NEW_USER, (user,))
        return place

    def item(self, item: str) -> int:
        """Return an item's place."""
        place = self._items.get(item, self.new_items.get(item))
        if place is None:
            place = self.new_items[item] = self._inserted(_NEW_ITEM, (item, text_of(ItemAttributes())))
        return place

    def described(self, item: str, attributes: ItemAttributes) -> tuple[str, int]:
        """Return an item's attributes as the table holds them, and its place.

        Raises: InvalidRequest when its numbers have too many new names.
        """
        self._number_names.check(item, attributes.numbers, self.new_number_names)
        return text_of(attributes), self.item(item)

    def _inserted(self, statement: str, values: tuple[str, ...]) -> int:
        [(place,)] = self._connection.execute(statement, values).fetchall()
        return int(place)
