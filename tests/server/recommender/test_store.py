"""The store keeps what it acknowledged, counts it once, and keeps nothing of whom it forgot."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuelight.server.errors import ConfigError, InvalidRequest, Overloaded, UserNotFound
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.store.events import FUTURE_TOLERANCE_S, Event, check_event, check_id
from cuelight.server.recommender.store.schema import MIGRATIONS
from cuelight.server.recommender.store.store import DATABASE_NAME, Store

NOW_S = 1_700_000_000.0


def event(number: int, user: str = "u", item: str = "i", value: float | None = 1.0, time_s: float = NOW_S) -> Event:
    return Event(f"e{number}", user, item, value, time_s)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "data")
    yield opened
    opened.close()


def reopened(store: Store) -> Store:
    store.close()
    return Store(store.path.parent)


def test_what_was_recorded_is_there_after_a_restart(store: Store) -> None:
    recorded = store.record([event(1, "ann", "x", 4.0, 10.0), event(2, "bob", "y", 5.0, 20.0)])
    assert recorded.new == 2
    assert recorded.said == {(0, 0): (4.0, 10.0), (1, 1): (5.0, 20.0)}

    again = reopened(store)

    assert again.interactions().tolist() == [[0, 0, 4.0, 10.0], [1, 1, 5.0, 20.0]]
    assert (again.users, again.items) == ({"ann": 0, "bob": 1}, {"x": 0, "y": 1})
    again.close()


def test_an_event_that_is_told_again_changes_nothing(store: Store) -> None:
    store.record([event(1, value=4.0)])

    again = store.record([event(1, value=2.0), event(1, "somebody else")])

    assert (again.kept, again.said) == ((False, False), {})
    assert store.interactions().tolist() == [[0, 0, 4.0, NOW_S]]
    assert list(store.users) == ["u"], "nobody comes to be by an event that does not count"


def test_the_latest_word_counts_in_whatever_order_it_comes(store: Store) -> None:
    store.record([event(1, value=1.0, time_s=30.0), event(2, value=2.0, time_s=20.0)])
    assert store.interactions().tolist() == [[0, 0, 1.0, 30.0]]

    assert store.record([event(3, value=3.0, time_s=30.0)]).said == {(0, 0): (3.0, 30.0)}
    assert store.interactions().tolist() == [[0, 0, 3.0, 30.0]]


def test_what_is_taken_back_no_longer_counts(store: Store) -> None:
    store.record([event(1, time_s=10.0), event(2, value=None, time_s=20.0), event(3, item="j")])

    assert store.interactions().tolist() == [[0, 1, 1.0, NOW_S]]
    assert store.count_events() == 3


words = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.sampled_from("ab"),
        st.sampled_from("xyz"),
        st.sampled_from([None, 1.0, 2.0]),
        st.integers(0, 4),
    ),
    max_size=30,
)


@settings(max_examples=25, deadline=None)
@given(words)
def test_rows_are_what_a_plain_dictionary_makes_of_the_events(
    tmp_path_factory: pytest.TempPathFactory, told: list[tuple[int, str, str, float | None, int]]
) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    seen: set[int] = set()
    expected: dict[tuple[str, str], tuple[float | None, float]] = {}
    for number, user, item, value, time_s in told:
        recorded = store.record([event(number, user, item, value, float(time_s))])
        if number not in seen and time_s >= expected.get((user, item), (None, -1.0))[1]:
            expected[user, item] = (value, float(time_s))
        seen.add(number)
        now = expected.get((user, item), (None, 0.0))
        assert list(recorded.said.values()) == ([now if now[0] is not None else None] if recorded.new else [])

    found = {(int(user), int(item)): (value, time_s) for user, item, value, time_s in store.interactions()}

    user_at = {place: user for user, place in store.users.items()}
    item_at = {place: item for item, place in store.items.items()}
    by_name = {(user_at[user], item_at[item]): said for (user, item), said in found.items()}
    assert by_name == {pair: said for pair, said in expected.items() if said[0] is not None}
    store.close()


def test_an_item_that_is_only_heard_of_has_no_attributes_yet(store: Store) -> None:
    store.record([event(1, item="heard of")])
    attributes = ItemAttributes("Night", ("x", "y"), {"year": 1999.0}, available=False)
    store.upsert_items({"told of": ItemAttributes("Day")})
    store.upsert_items({"told of": attributes})

    again = reopened(store)

    assert again.attributes() == [ItemAttributes(), attributes]
    again.close()


def test_a_deleted_item_takes_along_what_was_said_of_it_and_keeps_its_place(store: Store) -> None:
    store.upsert_items({"i": ItemAttributes("Night"), "j": ItemAttributes("Day")})
    store.record([event(1), event(2, "v"), event(3, "v", "j")])

    touched = store.delete_items(["i", "never heard of"])

    assert touched == {(0, 0), (1, 0)}
    assert store.interactions().tolist() == [[1, 1, 1.0, NOW_S]]
    assert store.attributes() == [None, ItemAttributes("Day")]
    assert store.items == {"i": 0, "j": 1}


def test_no_byte_is_left_of_a_user_who_is_forgotten(store: Store) -> None:
    secret = "person-4711-with-a-name"
    for number in range(0, 600, 3):
        others = [event(number + 1, f"other {number}"), event(number + 2, f"other {number % 7}", f"item {number}")]
        store.record([Event(f"{secret}/{number}", secret, f"item {number}", 1.0, NOW_S), *others])
    assert secret.encode() in bytes_of(store)

    assert store.forget_users([secret, "never heard of"]) == {0}
    store.compact()

    assert secret.encode() not in bytes_of(store)
    assert secret not in store.users
    again = reopened(store)
    assert 0 not in again.interactions()[:, 0]
    assert again.count_events() == 400
    assert secret.encode() not in bytes_of(again)
    again.close()


def bytes_of(store: Store) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(store.path.parent.rglob("*")) if path.is_file())


def test_a_compaction_that_never_came_comes_at_the_next_start(store: Store) -> None:
    store.record([event(1, "person-4711")])
    store.forget_users(["person-4711"])

    again = reopened(store)

    assert b"person-4711" not in bytes_of(again)
    assert again._connection.execute("SELECT count(*) FROM due").fetchone() == (0,)
    again.close()


def test_a_compaction_that_cannot_come_at_a_start_is_said_and_stays_due(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.record([event(1, "person-4711")])
    store.forget_users(["person-4711"])
    monkeypatch.setattr("cuelight.server.recommender.store.connection._BUSY_S", 0.0)
    reader = Store(store.path.parent, read_only=True)

    again = reopened(store)

    assert again.compaction_due()
    assert "forgotten, but not to the last byte yet: " in caplog.text
    assert "a reader keeps the write-ahead log" in caplog.text
    reader.close()
    again.compact()
    assert b"person-4711" not in bytes_of(again)
    again.close()


def test_who_is_forgotten_may_come_back_as_somebody_new(store: Store) -> None:
    store.record([event(1, "a"), event(2, "b")])
    store.forget_users(["b"])

    store.record([event(2, "b", "other"), event(3, "c")])

    assert store.users == {"a": 0, "b": 1, "c": 2}
    assert store.interactions()[1].tolist() == [1, 1, 1.0, NOW_S]


def test_a_user_gets_everything_that_is_stored(store: Store) -> None:
    told = [event(1, time_s=20.0), event(2, item="j", value=None, time_s=10.0)]
    store.record([*told, event(3, "somebody else")])

    assert store.export_user("u") == told
    with pytest.raises(UserNotFound, match="nobody"):
        store.export_user("nobody")


def test_a_full_disk_is_said_and_nothing_is_half_kept(store: Store) -> None:
    store.record([event(0)])
    [pages] = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages + 2}")

    with pytest.raises(Overloaded, match="disk is full"):
        store.record([event(number, f"user {number}", f"item {number}") for number in range(1, 5000)])

    assert (store.count_events(), list(store.users), list(store.items)) == (1, ["u"], ["i"])
    store._connection.execute("PRAGMA max_page_count = 1000000")
    assert store.record([event(1, "v", "j")]).new == 1


def test_many_are_recorded_as_few_are(store: Store) -> None:
    store.record([event(1), event(2, "v", "j")])

    assert store.take_in([event(2, "w"), event(3, "w", "k", None), event(3), event(4, "u", "j")]) == 2

    assert store.users == {"u": 0, "v": 1, "w": 2}
    assert [(told.id, told.item, told.value) for told in store.export_user("w")] == [("e3", "k", None)]
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        store._connection.execute("INSERT INTO events VALUES (9, 'x', 99, 0, 1.0, 0.0)")


def test_the_first_items_ever_may_be_some_without_numbers_and_some_with(store: Store) -> None:
    items = {"plain": ItemAttributes("Plain"), "dated": ItemAttributes("Dated", (), {"year": 1997.0})}

    store.upsert_items(items)

    assert store.attributes() == list(items.values())


def test_an_import_that_fails_on_the_way_leaves_nothing(store: Store) -> None:
    store.upsert_items({"i": ItemAttributes("as it was")}, {"i": {"text": np.array([1.0, 2.0], np.float32)}})
    store.set_setting("min_value", 4.0)

    def events() -> Iterator[Event]:
        yield event(1, "new user", "new item")
        raise ValueError("a row later on")

    with pytest.raises(ValueError, match="a row later on"):
        store.take_in(events(), {"i": ItemAttributes("changed"), "j": ItemAttributes()}, None, {"min_value": 1.0})
    with pytest.raises(InvalidRequest, match="expected 2 numbers"):
        store.take_in([event(2)], {"k": ItemAttributes()}, {"k": {"text": np.ones(3, np.float32)}}, {"min_value": 2.0})

    assert (store.count_events(), store.users, store.items) == (0, {}, {"i": 0})
    assert store.attributes() == [ItemAttributes("as it was")]
    assert store.setting("min_value") == 4.0
    assert store.take_in([event(3)], {"j": ItemAttributes("J")}, None, {"min_value": 1.0}) == 1
    assert (store.items, store.setting("min_value")) == ({"i": 0, "j": 1}, 1.0)


def test_a_second_process_is_refused_and_told_which_has_the_folder(store: Store) -> None:
    script = (
        "import sys; from pathlib import Path; from cuelight.server.recommender.store.store import Store\n"
        "from cuelight.server.errors import ConfigError\n"
        "try: Store(Path(sys.argv[1]))\n"
        "except ConfigError as error: print(error)\n"
    )
    command = [sys.executable, "-c", script, str(store.path.parent)]

    refused = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )

    assert f"in use by process {os.getpid()}" in refused.stdout


def test_a_database_from_a_newer_version_is_refused_by_name_and_left_alone(store: Store) -> None:
    store.close()
    with sqlite3.connect(store.path) as newer:
        newer.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 4}")
    newer.close()

    with pytest.raises(ConfigError, match=rf"{DATABASE_NAME}: made by a newer Cuelight.*version {len(MIGRATIONS) + 4}"):
        Store(store.path.parent)


@pytest.mark.parametrize("content", [b"not a database, whatever its name " * 40, None], ids=["text", "other tables"])
def test_what_is_no_database_of_ours_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / DATABASE_NAME
    if content is None:
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE songs (title)")
        other.close()
    else:
        path.write_bytes(content)

    with pytest.raises(ConfigError, match=DATABASE_NAME):
        Store(tmp_path)


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (event(1, user=""), "user_id"),
        (event(1, item="x" * 257), "item_id"),
        (Event("", "u", "i", 1.0, 0.0), "event_id"),
        (event(1, value=float("nan")), "value"),
        (event(1, value=float("-inf")), "value"),
        (event(1, time_s=NOW_S + FUTURE_TOLERANCE_S + 1), "time"),
        (event(1, time_s=NOW_S * 1000), "time"),
        (event(1, time_s=-1.0), "time"),
        (event(1, time_s=float("nan")), "time"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_is_refused_by_field(bad: Event, field: str) -> None:
    with pytest.raises(InvalidRequest, match=field):
        check_event(bad, NOW_S)


def test_what_can_be_passes() -> None:
    good = event(1, "ü" * 128, value=None, time_s=NOW_S + FUTURE_TOLERANCE_S)

    assert check_event(good, NOW_S) is good
    assert check_id("user_id", "ü" * 128)
