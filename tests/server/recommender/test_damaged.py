"""A database that cannot be read or is gone is told of by its path, and nothing is begun anew in its place."""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cuelight.server.errors import ConfigError, DataFolderLost
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.live_recommender import LiveRecommender
from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.store import DATABASE_NAME, Store
from cuelight.server.recommender.writes import Record, carry_out
from cuelight.server.rpc.lifecycle import BackgroundTasks
from tests.serve_process import run_cuelight

N_ITEMS = 400
PAGE_BYTES = 4096


def like(number: int) -> Event:
    return Event(f"e{number}", f"user {number % 50}", f"item {number % N_ITEMS}", 1.0, float(number))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with some items and events, that nobody has open."""
    folder = tmp_path_factory.mktemp("whole")
    store = Store(folder)
    tags = tuple(f"tag {n}" for n in range(20))
    store.upsert_items({f"item {n}": ItemAttributes(f"Title {n}", tags, {"n": float(n)}) for n in range(N_ITEMS)})
    store.upsert_items({"item 0": ItemAttributes()}, {"item 0": {"text": np.ones(3, np.float32)}})
    store.record([like(number) for number in range(2000)])
    store.close()
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "data"
    shutil.copytree(whole, copy)
    return copy


def overwrite_pages(path: Path) -> None:
    """Fill all pages but the first ones with bytes that are none of SQLite's."""
    content = bytearray(path.read_bytes())
    content[PAGE_BYTES * 20 :] = b"\xa5" * (len(content) - PAGE_BYTES * 20)
    path.write_bytes(content)


def run(*statements: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with sqlite3.connect(path) as connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()

    return damage


def put_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def leave_the_log_alone(path: Path) -> None:
    path.rename(path.with_name(f"{path.name}-wal"))


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "pages": (overwrite_pages, "cannot be read: database disk image is malformed; restore it from a backup"),
    "cut short": (lambda path: os.truncate(path, 9000), "cannot be read: .* malformed; restore it from a backup"),
    "no events": (run("DROP TABLE events"), "cannot be read: no such table: events; restore it from a backup"),
    "no users": (run("DROP TABLE users"), "cannot be read: no such table: users; restore it from a backup"),
    "no JSON": (
        run("UPDATE items SET attributes = '{bad' WHERE place = 3"),
        "cannot be read: items.attributes: expected an item as JSON, got '{bad'; restore",
    ),
    "other JSON": (
        run("UPDATE items SET attributes = '{\"x\": 1}' WHERE place = 3"),
        "cannot be read: items.attributes: expected an item as JSON, got .*; restore",
    ),
    "numbers no map": (
        run("""UPDATE items SET attributes = '{"title": "t", "tags": [], "numbers": 3}' WHERE place = 3"""),
        "cannot be read: items.attributes: expected a title and numbers by name",
    ),
    "vectors of two lengths": (
        run("INSERT INTO embeddings SELECT number, 1, x'0000803f' FROM spaces"),
        'cannot be read: embeddings: space "text": expected vectors of one length; restore',
    ),
    "an event of nobody": (
        run("UPDATE events SET user = 99999 WHERE sequence = 3"),
        "cannot be read: events: expected known users and items, got one of no user; restore",
    ),
    "an event of no item": (
        run("UPDATE events SET item = -1 WHERE sequence = 3"),
        "cannot be read: events: expected known users and items, got one of no item; restore",
    ),
    "a folder": (put_a_folder, "expected the database's file, found a folder"),
    "0 bytes": (empty, "expected a database, found a file of 0 bytes; restore it from a backup"),
    "a log alone": (leave_the_log_alone, "missing, and its write-ahead log is there; restore it from a backup"),
}


async def load(folder: Path) -> None:
    tasks = BackgroundTasks()
    await tasks.start()
    recommender = LiveRecommender(folder, None, 100, tasks.create, lambda: None)
    try:
        await recommender.open()
        await recommender.load()
    finally:
        await tasks.stop()
        await recommender.stop()


def in_place(path: Path) -> object:
    """Return what is in a database's place: a folder, a size or nothing."""
    return "a folder" if path.is_dir() else path.stat().st_size if path.exists() else None


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_database_is_not_served_from_and_stays_as_it_is(folder: Path, damage: str) -> None:
    path = folder / DATABASE_NAME
    do_damage, text = DAMAGES[damage]
    do_damage(path)
    before = in_place(path)

    with pytest.raises(ConfigError, match=rf"{DATABASE_NAME}: {text}"):
        asyncio.run(load(folder))

    assert in_place(path) == before


@pytest.mark.parametrize("words", [["fit", "--model", "popularity"], ["export", "--items", "out.csv"], ["evaluate"]])
def test_commands_end_with_code_2_and_one_line_about_what_is_damaged(folder: Path, words: list[str]) -> None:
    DAMAGES["no JSON"][0](folder / DATABASE_NAME)
    if words[0] == "export":
        words = [*words[:2], str(folder / words[2])]

    ended = run_cuelight("recommender", words[0], "--data", str(folder), *words[1:])

    assert ended.returncode == 2
    assert f"cuelight: error: {folder / DATABASE_NAME}: cannot be read: items.attributes" in ended.stderr
    assert "Traceback" not in ended.stderr


def unlink(path: Path) -> None:
    path.unlink()


def replace_by_a_copy(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    copy.replace(path)


@pytest.mark.skipif(os.name == "nt", reason="Windows deletes no file that is open")
@pytest.mark.parametrize("name", [DATABASE_NAME, "lock"])
@pytest.mark.parametrize("lose", [unlink, replace_by_a_copy])
def test_nothing_is_kept_in_files_that_are_no_longer_there(
    folder: Path, name: str, lose: Callable[[Path], None]
) -> None:
    store = Store(folder)
    store.record([like(5000)])

    lose(folder / name)

    with pytest.raises(DataFolderLost, match=f"{name}: deleted or replaced while it is in use"):
        store.record([like(5001)])
    with pytest.raises(DataFolderLost):
        store.forget_users(["user 1"])
    with pytest.raises(DataFolderLost):
        carry_out(store, [Record([like(5002)])])
    assert store.count_events() == 2001
    store.close()
