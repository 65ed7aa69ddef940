"""What is wrong with a file is said with its line; nothing of such a file is recorded."""

import re
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.importing.import_command import import_files
from cuelight.server.recommender.importing.interactions import read_interactions
from cuelight.server.recommender.importing.items import read_items
from cuelight.server.recommender.importing.row_places import RowPlaces
from cuelight.server.recommender.importing.source import Source
from cuelight.server.recommender.store.store import Store

HEAD = "user,item,rating,timestamp\n"
GOOD = "ann,x,5,1e9\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "told.csv: expected rows, the file is empty"),
        ("\n \n", "told.csv: expected rows, the file is empty"),
        (HEAD, "told.csv: expected rows, the file has columns alone"),
        ("a,b\n1,2\n", "told.csv, line 1: expected a column for the user, got a, b; it may be called user_id, userid"),
        ("user:item\n1:2\n", "told.csv, line 1: expected a column for the user, got user:item"),
        ("user,movie\n1,2\n", "told.csv, line 1: expected a column for the item, got user, movie"),
        (HEAD + GOOD + "ann,,5,1\n", "told.csv, line 3: it has no item"),
        (HEAD + GOOD + GOOD + ",x,5,1\n", "told.csv, line 4: it has no user"),
        (HEAD + GOOD + "ann,x,nan,1\n", "told.csv, line 3: value: expected a finite number, got nothing, or NaN"),
        (HEAD + GOOD + "ann,x,,1\n", "told.csv, line 3: value: expected a finite number, got nothing, or NaN"),
        (HEAD + GOOD + "ann,x,good,1\n", "told.csv, line 3: value: expected a finite number, got 'good'"),
        (HEAD + GOOD + "ann,x,inf,1\n", "told.csv, line 3: value: expected a finite number, got inf"),
        (HEAD + GOOD + "ann,x,5,soon\n", "told.csv, line 3: time: expected seconds of Unix time, or a date as 2026-01"),
        (HEAD + GOOD + "ann,x,5,99999999999\n", "told.csv, line 3: time: expected seconds of Unix time, 300 s from"),
        (HEAD + GOOD + "ann,x,5,-1\n", "told.csv, line 3: time: expected seconds of Unix time"),
        (HEAD + "\n\n" + GOOD + "\nann,x,nan,1\n", "told.csv, line 6: value"),
        (HEAD + '"two\nlines",x,5,1\nann,x,nan,1\n', "told.csv, line 4: value"),
        (HEAD + GOOD + "ann,x\n", "told.csv, line 3: cannot read it: expected 4 cells, got 2"),
        (HEAD + GOOD + "ann,x,1,2,3\n", "told.csv, line 3: cannot read it: expected 4 cells, got 5"),
        (HEAD + "a" * 257 + ",x,5,1\n", "told.csv, line 2: user id: expected 1 to 256 bytes of UTF-8"),
        ("user,item,event_id\nann,x,\n", "told.csv, line 2: it has no event"),
    ],
)
def test_a_file_of_interactions_that_cannot_be_used(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "told.csv").write_text(text)

    with pytest.raises(ConfigError) as raised:
        import_files(tmp_path / "data", Source(tmp_path / "told.csv"), None, None)

    assert str(raised.value).startswith(f"{tmp_path}/{said}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (HEAD.encode() + b"ann,x,5,1\nJos\xe9,x,5,1\n", "line 3: expected UTF-8, got the byte 0xe9"),
        (HEAD.encode("utf-16"), "line 1: expected UTF-8, got the byte 0xff"),
    ],
)
def test_a_broken_encoding(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "told.csv").write_bytes(content)

    with pytest.raises(ConfigError, match=said):
        read_interactions(Source(tmp_path / "told.csv"))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"user": [1, 2], "item": [1, 2], "rating": [1.0, float("nan")]}, "row 2: value: .* got nan"),
        ({"user": [1, 2], "item": [1, None]}, "row 2: it has no item"),
        ({"user": [1.0, float("nan")], "item": [1, 2]}, "row 2: it has no user"),
        ({"user": [1, 2]}, "told.parquet: expected a column for the item"),
        ({"user": pyarrow.array([], "int64"), "item": pyarrow.array([], "int64")}, "the file has columns alone"),
    ],
)
def test_a_parquet_file_that_cannot_be_used(tmp_path: Path, columns: dict[str, object], said: str) -> None:
    parquet.write_table(pyarrow.table(columns), tmp_path / "told.parquet")

    with pytest.raises(ConfigError, match=said):
        read_interactions(Source(tmp_path / "told.parquet"))


def test_without_pyarrow_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "told.csv").write_text(HEAD + GOOD)
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(ConfigError, match=r'import needs pyarrow: pip install "cuelight\[recommender\]"'):
        read_interactions(Source(tmp_path / "told.csv"))


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        ([[1.0, 2.0], [1.0]], 'row 2: embeddings: space "text": expected 2 numbers as the first vector has, got 1'),
        ([[1.0, None], [1.0, 2.0]], 'row 1: embeddings: space "text": expected finite numbers, got nan in place 1'),
        ([[1.0, 2.0], [1e300, 2.0]], 'row 2: embeddings: space "text": expected finite numbers, got inf in place 0'),
        ([None, [0.0, 0.0]], 'row 2: embeddings: space "text": expected a direction, got nothing but 0'),
        ([[], [1.0]], 'row 1: embeddings: space "text": expected 1 to 4096 numbers, got 0'),
    ],
)
def test_vectors_that_cannot_be_are_named_with_their_row(tmp_path: Path, vectors: object, said: str) -> None:
    columns = {"item": ["a", "b"], "text": pyarrow.array(vectors, pyarrow.list_(pyarrow.float64()))}
    parquet.write_table(pyarrow.table(columns), tmp_path / "items.parquet")

    with pytest.raises(ConfigError, match=re.escape(f"items.parquet, {said}")):
        read_items(Source(tmp_path / "items.parquet"))


def test_what_is_no_parquet_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "told.parquet").write_text(HEAD + GOOD)

    with pytest.raises(ConfigError, match=r"told.parquet: cannot read it"):
        read_interactions(Source(tmp_path / "told.parquet"))


def test_items_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item,title\nx,X\n,Y\n")

    with pytest.raises(ConfigError, match=r"items.csv, line 3: it has no item"):
        read_items(Source(tmp_path / "items.csv"))


def content_of(data: Path) -> tuple[object, ...]:
    store = Store(data)
    try:
        return store.count_events(), dict(store.items), store.attributes(), store.users, store.setting("min_value")
    finally:
        store.close()


@pytest.mark.parametrize(
    ("interactions", "report", "said"),
    [
        (GOOD + "ann,x,5,99999999999\n", "q.html", "line 3: time: expected seconds of Unix time"),
        (GOOD, "no/q.html", "no/q.html: cannot write the quality report: No such file or directory"),
        (GOOD, "folder", "folder: cannot write the quality report: it is a folder"),
    ],
    ids=["a time in the future", "no folder for the page", "a folder in its place"],
)
def test_an_import_that_is_refused_changes_nothing(tmp_path: Path, interactions: str, report: str, said: str) -> None:
    (tmp_path / "folder").mkdir()
    told, known, data = tmp_path / "told.csv", tmp_path / "items.csv", tmp_path / "data"
    told.write_text(HEAD + GOOD)
    known.write_text("item,title\nx,As it was\n")
    import_files(data, Source(told), Source(known), 4.0)
    before = content_of(data)
    told.write_text(HEAD + interactions + "bob,y,5,1\n")
    known.write_text("item,title\nx,Changed\nnew,New\n")

    with pytest.raises(ConfigError, match=re.escape(said)):
        import_files(data, Source(told), Source(known), 3.0, tmp_path / report)

    assert content_of(data) == before


def test_vectors_that_do_not_fit_leave_the_rest_of_an_import_out_too(tmp_path: Path) -> None:
    (tmp_path / "told.csv").write_text(HEAD + GOOD)
    for name, numbers in (("two", [1.0, 2.0]), ("three", [1.0, 2.0, 3.0])):
        table = pyarrow.table({"item": [name], "text": pyarrow.array([numbers], pyarrow.list_(pyarrow.float32()))})
        parquet.write_table(table, tmp_path / f"{name}.parquet")
    import_files(tmp_path / "data", None, Source(tmp_path / "two.parquet"), 4.0)
    before = content_of(tmp_path / "data")

    with pytest.raises(ConfigError, match=r'three.parquet: item "three".*expected 2 numbers'):
        import_files(tmp_path / "data", Source(tmp_path / "told.csv"), Source(tmp_path / "three.parquet"), 3.0)

    assert content_of(tmp_path / "data") == before


def test_a_new_folder_has_no_database_after_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "told.csv").write_text(HEAD + GOOD + "ann,x,5,99999999999\n")

    with pytest.raises(ConfigError, match="line 3: time"):
        import_files(tmp_path / "data", Source(tmp_path / "told.csv"), None, 4.0)

    assert [path.name for path in (tmp_path / "data").iterdir()] == ["quality.html"]


def test_a_min_value_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--min-value: got nan, expected a finite number"):
        import_files(tmp_path / "data", None, None, float("nan"))


def test_a_folder_is_not_made_for_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no.csv: cannot read it"):
        import_files(tmp_path / "data", Source(tmp_path / "no.csv"), None, None)

    assert not (tmp_path / "data").exists()


def test_an_id_is_what_is_written_even_if_it_looks_like_a_number_or_a_bom_comes_before(tmp_path: Path) -> None:
    (tmp_path / "told.csv").write_text("user,item,rating\n007,1e3,5\n7,1000,4\n", encoding="utf-8-sig")

    found = read_interactions(Source(tmp_path / "told.csv"))

    assert (found.user_ids, found.item_ids) == (("007", "7"), ("1e3", "1000"))


def test_ids_that_pandas_made_floats_are_whole_numbers(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"user": [7.0, 8.0], "item": [1.5, 2.0]}), tmp_path / "told.parquet")

    found = read_interactions(Source(tmp_path / "told.parquet"))

    assert (found.user_ids, found.item_ids) == (("7", "8"), ("1.5", "2"))


NOON_S = 1_769_860_800.0
"""2026-01-31 12:00 UTC, by `date -u -d 2026-01-31T12:00 +%s`."""


@pytest.mark.parametrize("written", ["2026-01-31T12:00:00Z", "2026-01-31 12:00:00", "2026-01-31T13:00:00+01:00"])
def test_times_may_be_written_as_dates(tmp_path: Path, written: str) -> None:
    (tmp_path / "told.csv").write_text(f"user,item,time\nann,x,{written}\n")

    assert read_interactions(Source(tmp_path / "told.csv")).times_s.tolist() == [NOON_S]


@pytest.mark.parametrize(
    ("time", "expected_s"), [(datetime(2026, 1, 31, 12, tzinfo=UTC), NOON_S), (date(2026, 1, 31), NOON_S - 43_200)]
)
def test_parquet_has_times_of_its_own(tmp_path: Path, time: object, expected_s: float) -> None:
    parquet.write_table(pyarrow.table({"user": ["a"], "item": ["x"], "time": [time]}), tmp_path / "told.parquet")

    assert read_interactions(Source(tmp_path / "told.parquet")).times_s.tolist() == [expected_s]


def test_lines_of_rows_where_there_is_no_header(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text('1::"::5::1\n\n2::x::5::1\n')

    assert RowPlaces(Source(tmp_path / "ratings.dat")).of((0, 1)) == {0: "line 1", 1: "line 3"}
