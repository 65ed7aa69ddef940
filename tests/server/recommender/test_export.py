"""What is exported and imported again is the same data, in either format; nothing is overwritten or half written."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.exporting.export_command import export_folder
from cuelight.server.recommender.features import ItemAttributes, ItemFeatures
from cuelight.server.recommender.importing.import_command import import_files
from cuelight.server.recommender.importing.interactions import read_interactions
from cuelight.server.recommender.importing.items import read_items
from cuelight.server.recommender.importing.source import Source
from cuelight.server.recommender.interaction_table import InteractionTable
from cuelight.server.recommender.liking import liked_rows, min_value_of
from cuelight.server.recommender.model_set import ModelSet
from cuelight.server.recommender.store.damage import Damaged
from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.store import Store

FORMATS = ("csv", "parquet")
EVENTS = [
    Event("first", "ann", "x", 5.0, 100.25),
    Event("second", "ann", "x", 2.5, 200.0),
    Event("late", "ann", "x", 1.0, 150.0),
    Event("third", "007", "y", 4.0, 0.1),
    Event("back", "007", "y", None, 300.0),
    Event("quoted", 'say "hi", bob\n', "NA", 3.0, 400.0),
    Event("nothing", "null", "x", 4.0, 400.0),
]
ITEMS = {
    "x": ItemAttributes("Heat, the", ("a|b", "", "c"), {"year": 1995.0, "new": 1.0}),
    "y": ItemAttributes("NA", ("(no genres listed)",), {"title": 0.5}, available=False),
    "unheard of": ItemAttributes(),
}


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    store = Store(tmp_path / "data")
    store.set_setting("min_value", 3.0)
    store.upsert_items(ITEMS)
    store.record(EVENTS)
    store.close()
    yield tmp_path / "data"


def there_and_back(data: Path, folder: Path, form: str, all_events: bool) -> Store:
    folder.mkdir()
    interactions, items = folder / f"interactions.{form}", folder / f"items.{form}"
    assert export_folder(data, interactions, items, all_events, False) == 0
    assert import_files(folder / "again", Source(interactions), Source(items), 3.0) == 0
    return Store(folder / "again", read_only=True)


def events_of(store: Store) -> list[Event]:
    return [event for user in store.users for event in store.export_user(user)]


def items_of(store: Store) -> dict[str, ItemAttributes | None]:
    attributes = store.attributes()
    return {item: attributes[place] for item, place in store.items.items()}


@pytest.mark.parametrize("form", FORMATS)
def test_with_all_events_everything_comes_back_as_it_was(data: Path, tmp_path: Path, form: str) -> None:
    again = there_and_back(data, tmp_path / "files", form, True)

    assert sorted(events_of(again), key=EVENTS.index) == EVENTS
    assert items_of(again) == {**ITEMS, "NA": ItemAttributes()}
    again.close()


@pytest.mark.parametrize("form", FORMATS)
def test_what_counts_alone_is_exported_by_default(data: Path, tmp_path: Path, form: str) -> None:
    again = there_and_back(data, tmp_path / "files", form, False)

    assert sorted(event.id for event in events_of(again)) == ["nothing", "quoted", "second"]
    again.close()


@pytest.mark.parametrize("all_events", [False, True])
def test_models_of_an_import_of_an_export_score_the_same(tmp_path: Path, all_events: bool) -> None:
    store = Store(tmp_path / "data")
    generator = np.random.default_rng(0)
    rows = enumerate(generator.integers(0, (12, 20, 6, 1000), (400, 4)).tolist())
    store.record(
        [Event(f"e{n}", f"u{user}", f"i{item}", value or None, time_s) for n, (user, item, value, time_s) in rows]
    )
    store.upsert_items({f"i{n}": ItemAttributes(f"Song {n}", (f"tag {n % 3}",)) for n in range(20)})

    again = there_and_back(tmp_path / "data", tmp_path / "files", "csv", all_events)

    for model in ("popularity", "item_cosine", "user_cosine", "content_cosine", "ease"):
        assert scores_by_id(again, model) == pytest.approx(scores_by_id(store, model), rel=1e-9)
    store.close()
    again.close()


def scores_by_id(store: Store, model: str) -> dict[tuple[str, str], float]:
    rows = liked_rows(store, 3.0)
    features = ItemFeatures.of([known or ItemAttributes() for known in store.attributes()])
    scorer = ModelSet(InteractionTable(len(store.items), rows), features).get(model)
    users = {user: rows[place] for user, place in store.users.items() if len(rows[place])}
    scored = scorer.scores(list(users.values()))
    return {
        (user, item): float(scores[place])
        for user, scores in zip(users, scored, strict=True)
        for item, place in store.items.items()
    }


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(texts, st.tuples(texts, texts, st.one_of(st.none(), st.floats(-1e300, 1e300)), st.floats(0, 1e9))),
    st.dictionaries(
        texts,
        st.builds(
            ItemAttributes,
            texts.map(str.strip),
            st.lists(texts, unique=True, max_size=3).map(tuple),
            st.dictionaries(texts, st.floats(allow_nan=False, allow_infinity=False), max_size=3),
            st.booleans(),
        ),
        min_size=1,
    ),
    st.sampled_from(FORMATS),
)
def test_any_text_and_any_number_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    said: dict[str, tuple[str, str, float | None, float]],
    items: dict[str, ItemAttributes],
    form: str,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    interactions, known = folder / f"interactions.{form}", folder / f"items.{form}"
    told = [Event(name, *row) for name, row in {"one": ("u", "i", 1.0, 1.0), **said}.items()]
    store = Store(folder / "data")
    store.upsert_items(items)
    store.record(told)

    export_folder(folder / "data", interactions, known, True, False)

    assert list(read_interactions(Source(interactions)).events()) == told
    assert read_items(Source(known)).attributes == items_of(store)
    store.close()


def test_a_file_that_is_there_is_overwritten_only_when_told_to(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "i.csv"
    path.write_text("mine")

    with pytest.raises(ConfigError, match=r"i\.csv: is there already; --force overwrites"):
        export_folder(data, path, None, False, False)
    assert path.read_text() == "mine"

    assert export_folder(data, path, None, False, True) == 0
    assert "event_id" in path.read_text()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("i.xlsx", None), r"i\.xlsx: expected a name ending in \.csv or \.parquet"),
        (("no/i.csv", None), r"no/i\.csv: no such folder"),
        (("i.csv", "i.csv"), r"i\.csv: expected two files"),
    ],
)
def test_where_nothing_can_be_written_is_said_at_once(
    data: Path, tmp_path: Path, names: tuple[str, str | None], said: str
) -> None:
    paths = [tmp_path / name if name else None for name in names]

    with pytest.raises(ConfigError, match=said):
        export_folder(data, paths[0], paths[1], False, False)


def test_an_export_that_breaks_leaves_no_file(data: Path, tmp_path: Path) -> None:
    with sqlite3.connect(data / "recommender.sqlite") as broken:
        broken.execute("UPDATE items SET attributes = 'no JSON' WHERE id = 'y'")
    broken.close()

    with pytest.raises(Damaged, match="expected an item as JSON"):
        export_folder(data, tmp_path / "i.csv", tmp_path / "items.csv", False, False)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_it_is_said_how_to_import_it_with_the_same_likes(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export_folder(data, tmp_path / "i.csv", None, False, False)

    assert f"--interactions {tmp_path}/i.csv --min-value 3" in capsys.readouterr().out


def test_an_export_is_what_stood_when_it_began(data: Path, tmp_path: Path) -> None:
    writer = Store(data)
    reader = Store(data, read_only=True)
    writer.record([Event("later", "carl", "new", 4.0, 500.0)])

    assert "carl" not in reader.users
    assert all(int(item) < len(reader.attributes()) for item in reader.interactions()[:, 1])
    assert min_value_of(reader) == 3.0
    reader.close()
    writer.close()


def test_embeddings_go_into_parquet_and_csv_leaves_those_alone_that_are_there(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(data)
    item, other = list(ITEMS)[:2]
    vectors = {item: {"text": np.array([1, 2.5], np.float32)}, other: {}}
    store.upsert_items({name: ITEMS[name] for name in (item, other)}, vectors)
    store.close()

    again = there_and_back(data, tmp_path / "files", "parquet", False)
    assert again.embeddings_of(item)["text"].tolist() == [1, 2.5]
    assert again.embeddings_of(other) == {}
    again.close()
    assert "embeddings    text: with them" in capsys.readouterr().out

    assert export_folder(data, None, tmp_path / "items.csv", False, False) == 0
    assert "embeddings    text: left out; a .parquet file has room for them" in capsys.readouterr().out
    assert import_files(data, None, Source(tmp_path / "items.csv"), None) == 0
    kept = Store(data, read_only=True)
    assert kept.embeddings_of(item)["text"].tolist() == [1, 2.5]
    kept.close()


def test_a_space_that_is_called_like_another_column_is_named(data: Path, tmp_path: Path) -> None:
    store = Store(data)
    item = next(iter(ITEMS))
    store.upsert_items({item: ITEMS[item]}, {item: {"title": np.array([1], np.float32)}})
    store.close()

    with pytest.raises(ConfigError, match=r'^space "title": cannot be exported, another column is called so'):
        export_folder(data, None, tmp_path / "items.parquet", False, False)
