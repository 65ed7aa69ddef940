"""A backup is a whole data folder of one moment; it overwrites nothing and leaves nothing half done."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from cuelight.server.errors import ConfigError, Unavailable
from cuelight.server.recommender import backup_command
from cuelight.server.recommender.backup_command import back_up
from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.snapshot import Snapshot
from cuelight.server.recommender.store.store import DATABASE_NAME, Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "data")
    opened.record([Event(f"e{n}", f"u{n % 7}", f"i{n % 5}", 1.0, float(n)) for n in range(5000)])
    yield opened
    opened.close()


@pytest.mark.parametrize("to", ["copies/monday", "copies/monday.sqlite"])
def test_a_backup_is_a_store_while_the_original_goes_on(store: Store, tmp_path: Path, to: str) -> None:
    assert back_up(tmp_path / "data", tmp_path / to) == 0

    store.record([Event("later", "v", "i", 1.0, 0.0)])
    copy = tmp_path / to if Path(to).suffix else tmp_path / to / DATABASE_NAME
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]
    if copy.name == DATABASE_NAME:
        restored = Store(copy.parent)
        assert (restored.count_events(), restored.last_sequence()) == (5000, 5000)
        assert restored.record([Event("e1", "u1", "i1", 1.0, 1.0), Event("later", "v", "i", 1.0, 0.0)]).new == 1
        restored.close()


def test_what_is_written_while_it_is_copied_is_not_in_it_and_does_not_begin_it_anew(
    store: Store, tmp_path: Path
) -> None:
    steps = []

    def write_meanwhile(pages: int) -> None:
        steps.append(pages)
        store.record([Event(f"meanwhile {len(steps)}", "v", "i", 1.0, 0.0)])

    with Snapshot(tmp_path / "data") as snapshot:
        snapshot.copy_to(tmp_path / DATABASE_NAME, write_meanwhile)
        assert sum(steps) == snapshot.pages()[0]

    copy = Store(tmp_path, read_only=True)
    assert (copy.count_events(), "v" in copy.users) == (5000, False)
    copy.close()


def test_nothing_is_overwritten(store: Store, tmp_path: Path) -> None:
    (tmp_path / DATABASE_NAME).write_text("mine")

    with pytest.raises(ConfigError, match=r"recommender\.sqlite: is there already"):
        back_up(tmp_path / "data", tmp_path)

    assert (tmp_path / DATABASE_NAME).read_text() == "mine"


def test_a_backup_of_nothing_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such database; cuelight recommender import makes one"):
        back_up(tmp_path / "nowhere", tmp_path / "copy")

    assert list(tmp_path.iterdir()) == []


def test_a_database_that_is_damaged_is_said_and_leaves_no_copy(store: Store, tmp_path: Path) -> None:
    store.compact()  # all of it into the file, so that there is something to damage
    with (tmp_path / "data" / DATABASE_NAME).open("r+b") as file:
        for page in range(12, 40):
            file.seek(page * 4096)
            file.write(b"\xff" * 64)

    with pytest.raises(ConfigError, match=r"recommender\.sqlite: it is damaged, so is the copy: ."):
        back_up(tmp_path / "data", tmp_path / "copy")

    assert list((tmp_path / "copy").iterdir()) == []


def test_too_little_room_is_said_before_anything_is_copied(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the copy needs [\d,]+\.\d MiB, [\d,.]+ MiB are free"):
        backup_command._check_room(tmp_path, 1 << 60)


def test_while_a_snapshot_is_read_nobody_is_forgotten_to_the_last_byte_and_after_it_they_are(
    store: Store, tmp_path: Path
) -> None:
    store._connection.execute("PRAGMA busy_timeout = 0")
    with Snapshot(tmp_path / "data"):
        store.forget_users(["u3"])
        with pytest.raises(Unavailable, match="a reader keeps the write-ahead log"):
            store.compact()

    store.compact()
    assert not store.compaction_due()


def test_an_older_schema_is_not_backed_up_by_guessing(store: Store, tmp_path: Path) -> None:
    store.close()
    with sqlite3.connect(tmp_path / "data" / DATABASE_NAME) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()

    with pytest.raises(ConfigError, match="made by a newer Cuelight: its schema is version 99"):
        back_up(tmp_path / "data", tmp_path / "copy")
