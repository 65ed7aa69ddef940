"""What an export has in its columns: names that `import` knows, and of each item or event the cells.

A column more of items is a line more in `_ITEM_COLUMNS`, and one in `importing.items`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.embeddings import Vector
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.store.events import Event

__all__ = ["EVENT_SCHEMA", "event_row", "item_row", "item_schema"]

_ItemCell = Callable[[str, ItemAttributes], Any]

_ITEM_COLUMNS: tuple[tuple[str, Any, _ItemCell], ...] = (
    ("item_id", pyarrow.string(), lambda item, _: item),
    ("title", pyarrow.string(), lambda _, known: known.title),
    ("tags", pyarrow.list_(pyarrow.string()), lambda _, known: known.tags),
    ("numbers", pyarrow.map_(pyarrow.string(), pyarrow.float64()), lambda _, known: tuple(known.numbers.items())),
    ("available", pyarrow.bool_(), lambda _, known: known.available),
)

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


def item_schema(spaces: Sequence[str]) -> Any:
    """Return the columns of items: what is told of every item, and one of embeddings for each of `spaces`.

    Raises: ConfigError when a space is called like another column.
    """
    told = [(name, kind) for name, kind, _ in _ITEM_COLUMNS]
    for space in spaces:
        if space in {name for name, _ in told}:
            raise ConfigError(f'space "{space}": cannot be exported, another column is called so')
    return pyarrow.schema([*told, *((space, pyarrow.list_(pyarrow.float32())) for space in spaces)])


def item_row(
    item: str, known: ItemAttributes, embeddings: Mapping[str, Vector], spaces: Sequence[str]
) -> tuple[Any, ...]:
    """Return an item's cells, as `item_schema` has them."""
    return (*(cell(item, known) for _, _, cell in _ITEM_COLUMNS), *map(embeddings.get, spaces))


def event_row(event: Event) -> tuple[Any, ...]:
    """Return an event's cells, as `EVENT_SCHEMA` has them."""
    return (event.id, event.user, event.item, event.value, event.time_s, event.value is None)
