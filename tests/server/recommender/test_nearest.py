"""Nearest items while writes come: acknowledged is found, deleted is gone, and no filter leaks."""

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuelight.server.errors import InvalidRequest, ItemNotFound, NotFound
from cuelight.server.recommender.catalogue import ItemFilter, NumberRange
from cuelight.server.recommender.embeddings import ItemEmbeddings, SpaceVectors, Vector, VectorTable, unit_rows
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.live_recommender import LiveRecommender
from cuelight.server.recommender.retrieval.questions import NearestQuestion
from cuelight.server.recommender.retrieval.spaces import Spaces
from cuelight.server.recommender.shelves import Query, ShelfOptions
from cuelight.server.recommender.store.schema import MIGRATIONS
from cuelight.server.recommender.store.store import DATABASE_NAME, Store
from cuelight.server.recommender.writes import DeleteItems, UpsertItems
from tests.server.recommender.test_live_recommender import play


def vector(*numbers: float) -> Vector:
    return np.array(numbers, np.float32)


def told(vectors: Mapping[str, Sequence[float]], space: str = "text") -> dict[str, dict[str, Vector]]:
    return {item: {space: vector(*numbers)} for item, numbers in vectors.items()}


def upsert(vectors: Mapping[str, Sequence[float]], **attributes: object) -> UpsertItems:
    known = ItemAttributes(**attributes)  # type: ignore[arg-type]
    return UpsertItems(dict.fromkeys(vectors, known), told(vectors))


async def near(recommender: LiveRecommender, *queries: Vector | str, n: int = 10, **how: object) -> list[list[str]]:
    question = NearestQuestion("", queries, n, **how)  # type: ignore[arg-type]
    return [[item for item, _ in found] for found in (await recommender.nearest(question)).lists]


def test_what_is_acknowledged_is_found_and_what_is_gone_is_not(tmp_path: Path) -> None:
    async def scenario(recommender: LiveRecommender) -> None:
        await recommender.write(upsert({"east": [1, 0], "north": [0, 2], "north-east": [3, 3]}))
        assert await near(recommender, vector(5, 1), "east") == [
            ["east", "north-east", "north"],
            ["north-east", "north"],
        ]
        await recommender.write(upsert({"east": [-1, 0]}))
        assert await near(recommender, vector(5, 1)) == [["north-east", "north", "east"]]
        await recommender.write(upsert({"north-east": [3, 3]}, available=False))
        assert await near(recommender, vector(5, 1), "north-east") == [["north", "east"], ["north", "east"]]
        await recommender.write(DeleteItems(["north"]))
        assert await near(recommender, vector(5, 1)) == [["east"]]
        await recommender.write(UpsertItems({"east": ItemAttributes("without an embedding")}))
        assert await near(recommender, vector(5, 1)) == [[]]

    play(tmp_path, scenario)
    store = Store(tmp_path)
    assert {item: list(store.embeddings_of(item)) for item in store.items} == {
        "east": [],
        "north": [],
        "north-east": ["text"],
    }
    store.close()


def test_filters_are_of_tags_numbers_and_availability(tmp_path: Path) -> None:
    async def scenario(recommender: LiveRecommender) -> None:
        await recommender.write(upsert({"a": [1, 0], "b": [1, 1]}, tags=("x",), numbers={"year": 1999.0}))
        await recommender.write(upsert({"c": [1, 2]}, tags=("x", "y")))
        await recommender.write(upsert({"d": [1, 3]}, tags=("x",), available=False))
        for conditions, expected in [
            (ItemFilter(), ["a", "b", "c"]),
            (ItemFilter(include_unavailable=True), ["a", "b", "c", "d"]),
            (ItemFilter(none_tags=("y",)), ["a", "b"]),
            (ItemFilter(none_tags=("y",), include_unavailable=True), ["a", "b", "d"]),
            (ItemFilter(ranges=(NumberRange("year", 2000.0),)), []),
        ]:
            assert await near(recommender, vector(1, 0), conditions=conditions) == [expected]

    play(tmp_path, scenario)


def test_what_cannot_be_asked_says_what_could(tmp_path: Path) -> None:
    async def scenario(recommender: LiveRecommender) -> None:
        async def refused(error: type[Exception], words: str, space: str, query: Vector | str) -> None:
            with pytest.raises(error, match=words):
                await recommender.nearest(NearestQuestion(space, (query,), 10))

        await refused(NotFound, 'space "": no item has an embedding', "", vector(1))
        both = {"text": vector(1, 2), "sound": vector(1, 2, 3)}
        await recommender.write(
            UpsertItems(dict.fromkeys("ab", ItemAttributes()), {"a": both, "b": {"text": both["text"]}})
        )
        await refused(InvalidRequest, 'space: expected one of "sound", "text", got none', "", vector(1, 2))
        await refused(NotFound, 'space "picture": there are "sound", "text"', "picture", vector(1, 2))
        await refused(
            InvalidRequest, r'queries\[0\].*expected 3 numbers as space "sound" has, got 2', "sound", vector(1, 2)
        )
        await refused(ItemNotFound, 'item "b": it has no embedding in space "sound"', "sound", "b")
        await refused(ItemNotFound, 'item "nothing": it has no embedding', "text", "nothing")

    play(tmp_path, scenario)


def test_a_vector_of_another_length_is_refused_and_nothing_of_its_call_is_kept(tmp_path: Path) -> None:
    async def scenario(recommender: LiveRecommender) -> None:
        await recommender.write(upsert({"a": [1, 0], "b": [0, 1]}))
        words = 'item "d": embeddings: space "text": expected 2 numbers as the others there have, got 3'
        with pytest.raises(InvalidRequest, match=words):
            await recommender.write(upsert({"c": [1, 1], "d": [1, 1, 1]}))
        with pytest.raises(InvalidRequest, match=r'item "a".*expected 2.*got 3'):
            await recommender.write(upsert({"a": [1, 0, 0]}))
        assert await near(recommender, vector(1, 0)) == [["a", "b"]]
        await recommender.write(upsert({"a": [1, 0, 0], "b": [1, 1, 0]}))
        assert await near(recommender, vector(1, 0, 0)) == [["a", "b"]]
        shelf = await recommender.recommend(Query(history={"a": 1.0}), ShelfOptions("content_cosine"))
        assert [(item.item, round(item.score, 6)) for item in shelf.items] == [("b", round(0.5**0.5, 6))]

    play(tmp_path, scenario)
    store = Store(tmp_path)
    assert sorted(store.items) == ["a", "b"]
    store.close()


def test_a_restart_finds_the_same(tmp_path: Path) -> None:
    found = []

    async def fill(recommender: LiveRecommender) -> None:
        await recommender.write(upsert({"a": [1, 0], "b": [1, 1]}))
        await recommender.write(upsert({"c": [1, 2]}, available=False))
        await again(recommender)

    async def again(recommender: LiveRecommender) -> None:
        for conditions in (ItemFilter(), ItemFilter(include_unavailable=True)):
            found.append(await near(recommender, vector(0.1, 1), conditions=conditions))

    play(tmp_path, fill)
    play(tmp_path, again)
    assert found[:2] == found[2:] == [[["b", "a"]], [["c", "b", "a"]]]


def test_searches_and_writes_all_at_once_never_find_what_is_not_allowed(tmp_path: Path) -> None:
    """Even items are always there; odd ones come, go and become unavailable, but each has one direction for good."""
    directions = unit_rows(np.random.default_rng(0).standard_normal((30, 8), dtype=np.float32))

    def of(item: int) -> dict[str, list[float]]:
        return {f"i{item}": directions[item].tolist()}

    async def ask(recommender: LiveRecommender) -> None:
        for item in range(0, 30, 2):
            [found] = await near(recommender, directions[item], conditions=ItemFilter(any_tags=("even",)), n=50)
            assert found[0] == f"i{item}"
            assert {int(name[1:]) % 2 for name in found} == {0}
            assert len(found) == 15
            [others] = await near(recommender, f"i{item}", n=50)
            assert f"i{item}" not in others

    async def change(recommender: LiveRecommender) -> None:
        for item in range(1, 30, 2):
            await recommender.write(upsert(of(item), tags=("odd",)))
            assert (await near(recommender, directions[item]))[0][0] == f"i{item}"
            await recommender.write(upsert(of(item), tags=("odd",), available=False))
            assert f"i{item}" not in (await near(recommender, directions[item]))[0]
            await recommender.write(DeleteItems([f"i{item}"]))
            gone = await near(recommender, directions[item], conditions=ItemFilter(include_unavailable=True))
            assert f"i{item}" not in gone[0]

    async def scenario(recommender: LiveRecommender) -> None:
        for item in range(0, 30, 2):
            await recommender.write(upsert(of(item), tags=("even",)))
        await asyncio.gather(change(recommender), *(ask(recommender) for _ in range(8)))

    play(tmp_path, scenario)


def test_an_older_database_gets_room_for_embeddings(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / DATABASE_NAME)
    for statement in MIGRATIONS[0]:
        connection.execute(statement)
    connection.execute("INSERT INTO items (place, id, attributes) VALUES (0, 'a', NULL)")
    connection.execute("PRAGMA user_version = 1")
    connection.execute("PRAGMA application_id = 0x4375654C")
    connection.commit()
    connection.close()

    store = Store(tmp_path)
    store.upsert_items({"a": ItemAttributes()}, told({"a": [1, 2]}))

    assert store.embeddings_of("a")["text"].tolist() == [1, 2]
    store.close()


changes = st.lists(
    st.dictionaries(
        st.integers(0, 6), st.none() | st.lists(st.integers(-9, 9), min_size=3, max_size=3).filter(any), max_size=4
    ),
    max_size=12,
)


@settings(max_examples=50, deadline=None)
@given(changes)
def test_what_was_seen_of_a_table_stays_as_it_was(steps: list[dict[int, list[int] | None]]) -> None:
    table, known = VectorTable.empty(3), dict[int, list[int]]()
    held: list[tuple[SpaceVectors, dict[int, list[int]]]] = []
    for step in steps:
        for place, numbers in step.items():
            if numbers is None:
                table.drop(place)
                known.pop(place, None)
            else:
                table.put(place, vector(*numbers))
                known[place] = numbers
        held.append((table.seen(), dict(known)))
        assert len(table) == len(known)

    for seen, then in held:
        rows = zip(seen.places.tolist(), seen.vectors.tolist(), strict=True)
        assert {place: numbers for place, numbers in rows if place >= 0} == then


def test_questions_that_ask_alike_are_answered_like_alone() -> None:
    directions = unit_rows(np.random.default_rng(0).standard_normal((20, 4), dtype=np.float32))
    ids = {place: f"i{place}" for place in range(20)}
    spaces = Spaces(ids, {3, 7}, {"text": SpaceVectors(np.arange(20), directions)})
    questions = [
        NearestQuestion("text", tuple(directions[at : at + 1 + at % 3]), 1 + at, ItemFilter(include_unavailable=at > 8))
        for at in range(15)
    ]
    questions[4] = NearestQuestion("text", ("i5", directions[6]), 3)
    questions[9] = NearestQuestion("text", (directions[0][:2],), 3)

    together = spaces.answer(questions)

    assert isinstance(together[9], InvalidRequest)
    for at in {*range(15)} - {9}:
        assert spaces.answer([questions[at]]) == [together[at]]


def test_an_item_without_vectors_is_not_in_the_way() -> None:
    spaces = Spaces({}, set(), {})

    spaces.learn({0: ItemEmbeddings("a"), 1: None, 2: ItemEmbeddings("c", True, {"text": vector(1, 2)})})

    [answer] = spaces.answer([NearestQuestion("", (vector(1, 2),), 5)])
    assert not isinstance(answer, Exception)
    [[(item, cosine)]] = answer.lists
    assert item == "c"
    assert cosine == pytest.approx(1.0)
