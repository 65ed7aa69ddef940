"""Names that cost memory for every item are only so many in all; a database with more of them opens all the same."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from cuelight.server.errors import InvalidRequest
from cuelight.server.recommender.embeddings import MAX_SPACES, Vector
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.store.number_names import MAX_NUMBER_NAMES
from cuelight.server.recommender.store.store import DATABASE_NAME, Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path)
    yield opened
    opened.close()


def numbered(first: int, count: int) -> ItemAttributes:
    return ItemAttributes(numbers={f"n{number}": 1.0 for number in range(first, first + count)})


def vectors(first: int, count: int) -> Mapping[str, Vector]:
    return {f"s{space:03}": np.ones(2, np.float32) for space in range(first, first + count)}


def put(store: Store, item: str, embeddings: Mapping[str, Vector]) -> None:
    store.upsert_items({item: ItemAttributes()}, {item: embeddings})


def test_names_of_numbers_are_counted_over_all_items_and_one_too_many_keeps_nothing(store: Store) -> None:
    store.upsert_items({"a": numbered(0, 600), "b": numbered(300, 600)})
    store.upsert_items({"c": numbered(900, MAX_NUMBER_NAMES - 900)})

    with pytest.raises(InvalidRequest) as refused:
        store.upsert_items({"d": numbered(0, 5), "e": ItemAttributes(numbers={"n3": 1.0, "one more": 1.0})})

    assert refused.value.message == (
        f'item "e": number "one more": expected {MAX_NUMBER_NAMES} different names in all items at most, got one more'
    )
    assert "d" not in store.items
    store.upsert_items({"d": numbered(0, MAX_NUMBER_NAMES)})


def test_names_of_numbers_are_known_after_a_new_start(store: Store, tmp_path: Path) -> None:
    store.upsert_items({"a": numbered(0, MAX_NUMBER_NAMES)})
    store.close()

    again = Store(tmp_path)
    with pytest.raises(InvalidRequest, match="one more"):
        again.upsert_items({"b": numbered(MAX_NUMBER_NAMES, 1)})
    again.upsert_items({"a": ItemAttributes()})
    again.close()

    later = Store(tmp_path)
    later.upsert_items({"b": numbered(MAX_NUMBER_NAMES, MAX_NUMBER_NAMES)})
    later.close()


def test_names_are_looked_up_among_items_that_come_with_them(store: Store) -> None:
    store.upsert_items({"a": ItemAttributes(), "b": numbered(0, 1)})

    assert store.attributes() == [ItemAttributes(), numbered(0, 1)]


def test_spaces_are_counted_over_all_items_and_one_too_many_keeps_nothing(store: Store) -> None:
    put(store, "a", vectors(0, 60))
    put(store, "b", vectors(50, MAX_SPACES - 50))

    with pytest.raises(InvalidRequest) as refused:
        put(store, "c", vectors(MAX_SPACES - 1, 2))

    assert refused.value.message == (
        f'item "c": embeddings: space "s{MAX_SPACES:03}": expected {MAX_SPACES} spaces in all items at most, '
        "got one more"
    )
    assert "c" not in store.items
    assert len(store.embeddings()) == MAX_SPACES


def test_a_space_that_no_item_has_any_more_makes_room(store: Store) -> None:
    put(store, "a", vectors(0, MAX_SPACES))
    put(store, "a", vectors(10, MAX_SPACES))

    assert list(store.embeddings()) == list(vectors(10, MAX_SPACES))


def test_a_database_with_more_of_both_opens_and_what_it_has_can_be_set(store: Store, tmp_path: Path) -> None:
    store.upsert_items({"a": ItemAttributes()})
    store.close()
    many = {f"n{number}": 1.0 for number in range(2 * MAX_NUMBER_NAMES)}
    text = json.dumps({"title": "", "tags": [], "numbers": many, "available": True})
    with sqlite3.connect(tmp_path / DATABASE_NAME) as older:
        older.execute("UPDATE items SET attributes = ?", (text,))
        for number, space in enumerate(vectors(0, 2 * MAX_SPACES)):
            older.execute("INSERT INTO spaces VALUES (?, ?)", (number, space))
            older.execute("INSERT INTO embeddings VALUES (?, 0, ?)", (number, np.ones(2, "<f4").tobytes()))
    older.close()

    again = Store(tmp_path)
    assert again.attributes() == [ItemAttributes(numbers=many)]
    assert len(again.embeddings()) == 2 * MAX_SPACES
    again.upsert_items({"b": numbered(5, 10)}, {"b": vectors(5, 10)})
    with pytest.raises(InvalidRequest, match='number "new"'):
        again.upsert_items({"c": ItemAttributes(numbers={"new": 1.0})})
    with pytest.raises(InvalidRequest, match='space "new"'):
        put(again, "c", {"new": np.ones(2, np.float32)})
    again.close()
