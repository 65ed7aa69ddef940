"""Files of several formats lead to the same users, items and events; what cannot be read is said by name."""

from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from cuelight.server.recommender.evaluation.from_store import evaluation_data, in_order
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.importing.import_command import import_files
from cuelight.server.recommender.importing.interactions import read_interactions
from cuelight.server.recommender.importing.items import read_items
from cuelight.server.recommender.importing.source import Source
from cuelight.server.recommender.liking import min_value_of
from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.store import Store

EVENTS = [
    Event("import 7 10 100", "7", "10", 5.0, 100.0),
    Event("import 7 2 200", "7", "2", 3.0, 200.0),
    Event("import 12 10 300", "12", "10", 4.0, 300.0),
]
RATINGS = {"user_id": [7, 7, 12], "item_id": [10, 2, 10], "rating": [5, 3, 4], "timestamp": [100, 200, 300]}

MOVIELENS = ("u.data", "u1.base", "u5.test", "ua.base", "ub.test", "ratings.dat", "r3.train", "rb.test")
"""Names of its files without a header, of 100K with tabs, of 1M and 10M with `::`."""


def write_ratings(folder: Path, form: str) -> Path:
    path = folder / form
    rows = list(zip(*RATINGS.values(), strict=True))
    if form == "ratings.parquet":
        parquet.write_table(pyarrow.table(RATINGS), path)
    elif form == "ratings.csv":
        path.write_text("userId,movieId,rating,timestamp\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    else:
        separator = "\t" if form.startswith("u") else "::"
        path.write_text("".join(separator.join(map(str, row)) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("form", ["ratings.parquet", "ratings.csv", *MOVIELENS])
def test_every_format_tells_the_same_events(tmp_path: Path, form: str) -> None:
    assert list(read_interactions(Source(write_ratings(tmp_path, form))).events()) == EVENTS


def test_columns_of_lists_of_numbers_are_embeddings(tmp_path: Path) -> None:
    halves = pyarrow.array([[0.5, 1.5], None, [2.0, 0.0], [0.0, 4.0]], pyarrow.list_(pyarrow.float64()))
    fixed = pyarrow.array([[1, 2, 3]] * 3 + [None], pyarrow.list_(pyarrow.float32(), 3))
    columns = {"item": ["a", "b", "c", "a"], "year": [1, 2, 3, 4], "text": halves, "sound": fixed, "words": [["x"]] * 4}
    parquet.write_table(pyarrow.table(columns), tmp_path / "items.parquet")

    import_files(tmp_path / "data", None, Source(tmp_path / "items.parquet"), None)

    store = Store(tmp_path / "data")
    told = {item: store.embeddings_of(item) for item in "abc"}
    store.close()
    assert {item: {space: vector.tolist() for space, vector in vectors.items()} for item, vectors in told.items()} == {
        "a": {"text": [0.0, 4.0]},
        "b": {"sound": [1.0, 2.0, 3.0]},
        "c": {"text": [2.0, 0.0], "sound": [1.0, 2.0, 3.0]},
    }


def test_likes_alone_have_the_value_1_and_their_own_ids(tmp_path: Path) -> None:
    path = tmp_path / "likes.csv"
    path.write_text("user,item,event_id\nann,x,1\n")

    assert list(read_interactions(Source(path)).events()) == [Event("1", "ann", "x", 1.0, 0.0)]


def test_items_have_titles_tags_and_numbers(tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text(
        'movieId,title,genres,year\n1,"Story, Toy (1995)",Comedy|Drama,1995\n2,Heat,(no genres listed),\n'
    )
    (tmp_path / "movies.dat").write_bytes(b"1::Caf\xe9: Part 2 (1995)::Comedy|Drama\n")
    (tmp_path / "u.item").write_bytes(
        "1|Caf\xe9 (1995)|01-Jan-1995||http://a|0|1|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n".encode("latin-1")
        + b"2|Heat (1995)|01-Jan-1995||http://b|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
    )

    assert read_items(Source(tmp_path / "movies.csv")).attributes == {
        "1": ItemAttributes("Story, Toy (1995)", ("Comedy", "Drama"), {"year": 1995.0}),
        "2": ItemAttributes("Heat"),
    }
    assert read_items(Source(tmp_path / "movies.dat")).attributes == {
        "1": ItemAttributes("Café: Part 2 (1995)", ("Comedy", "Drama"), {"year": 1995.0})
    }
    films = read_items(Source(tmp_path / "u.item")).attributes
    assert films["1"] == ItemAttributes("Café (1995)", ("Action", "Comedy"), {"year": 1995.0})
    assert films["2"].tags == ("Comedy",)


def test_the_year_behind_a_title_is_a_number_in_films_of_movielens_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films, others = tmp_path / "films.csv", tmp_path / "others.csv"
    films.write_text(
        "movieId,title,genres\n1,Blade Runner 2049 (2017) (V),\n2,2001: A Space Odyssey (1968),\n3,None,\n"
    )
    others.write_text("item,title\nx,Songs of (1995)\n")

    found = read_items(Source(films))

    assert [item.numbers for item in found.attributes.values()] == [{"year": 2017.0}, {"year": 1968.0}, {}]
    assert read_items(Source(others)).attributes["x"].numbers == {}
    assert import_files(tmp_path / "data", None, Source(films), None) == 0
    assert f"items         3 from {films}; year of 2 from their titles" in capsys.readouterr().out


def test_what_is_imported_twice_counts_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_ratings(tmp_path, "ratings.csv")

    assert import_files(tmp_path / "data", Source(path), None, 4.0) == 0
    assert import_files(tmp_path / "data", Source(path), None, None) == 0

    assert "3 new, 0 known already" in capsys.readouterr().out.replace("0 new, 3 known", "")
    store = Store(tmp_path / "data", read_only=True)
    assert store.count_events() == 3
    assert min_value_of(store) == 4.0
    store.close()


def test_an_evaluation_does_not_depend_on_the_order_in_which_things_came(tmp_path: Path) -> None:
    found = []
    for name, events in (("forth", EVENTS), ("back", EVENTS[::-1])):
        store = Store(tmp_path / name)
        store.record(events)
        found.append(evaluation_data(store, 4.0))
        store.close()

    for data in found:
        assert data.n_items == 2
        assert [(row.items.tolist(), row.times_s.tolist()) for row in data.liked] == [([1], [100.0]), ([1], [300.0])]


@pytest.mark.parametrize(
    ("ids", "ordered"), [(["10", "9", "1"], ["1", "9", "10"]), (["10", "9", "a"], ["10", "9", "a"]), ([], [])]
)
def test_ids_are_in_order_as_numbers_where_they_are_numbers(ids: list[str], ordered: list[str]) -> None:
    assert in_order(ids) == ordered
