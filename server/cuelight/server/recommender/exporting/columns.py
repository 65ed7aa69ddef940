"""What an export has in its columns: names that `import` knows, and of each item or event the cells.

A column more of items is a line more in `_ITEM_COLUMNS`, and one in `importing.items`.
"""

from collections.abc import Callable
from typing import Any

import pyarrow

from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.store.events import Event

__all__ = ["EVENT_SCHEMA", "ITEM_SCHEMA", "event_row", "item_row"]

_ItemCell = Callable[[str, ItemAttributes], Any]

_ITEM_COLUMNS: tuple[tuple[str, Any, _ItemCell], ...] = (
    ("item_id", pyarrow.string(), lambda item, _: item),
    ("title", pyarrow.string(), lambda _, known: known.title),
    ("tags", pyarrow.list_(pyarrow.string()), lambda _, known: known.tags),
    ("numbers", pyarrow.map_(pyarrow.string(), pyarrow.float64()), lambda _, known: tuple(known.numbers.items())),
    ("available", pyarrow.bool_(), lambda _, known: known.available),
)

ITEM_SCHEMA = pyarrow.schema([(name, kind) for name, kind, _ in _ITEM_COLUMNS])

EVENT_SCHEMA = pyarrow.schema(
    [
        ("event_id", pyarrow.string()),
        ("user_id", pyarrow.string()),
        ("item_id", pyarrow.string()),
        ("value", pyarrow.float64()),
        ("time_s", pyarrow.float64()),
        ("withdrawn", pyarrow.bool_()),
    ]
)
"""`value` is missing where `withdrawn` is true."""


def item_row(item: str, known: ItemAttributes) -> tuple[Any, ...]:
    """Return an item's cells, as `ITEM_SCHEMA` has them."""
    return tuple(cell(item, known) for _, _, cell in _ITEM_COLUMNS)


def event_row(event: Event) -> tuple[Any, ...]:
    """Return an event's cells, as `EVENT_SCHEMA` has them."""
    return (event.id, event.user, event.item, event.value, event.time_s, event.value is None)
