"""`import --skip-bad-rows`: what cannot be read is left out, counted and listed; the rest is as if alone."""

import math
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from cuelight.server.cli import main
from cuelight.server.errors import ConfigError
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.importing.file_table import LeftOut
from cuelight.server.recommender.importing.interactions import check_times, read_interactions
from cuelight.server.recommender.importing.items import read_items
from cuelight.server.recommender.importing.source import Source
from cuelight.server.recommender.store.store import Store

NOW_S = 1_700_000_000.0
HEADER = "user,item,rating,time,event_id,withdrawn\n"
GOOD = ("ann,x,5,2020-01-31T12:00:00Z,1,false\n", "bob,y,4,2021-01-31T12:00:00Z,2,false\n", "ann,y,,1e9,3,true\n")
BAD = (
    ("ann,x,5,1,9\n", "cannot read it: expected 6 cells, got 5"),
    ("ann,x,5,1,9,false,more\n", "cannot read it: expected 6 cells, got 7; a decimal comma, or a comma in a text"),
    (",x,5,1,9,false\n", "it has no user"),
    ("ann,,5,1,9,false\n", "it has no item"),
    ("a" * 257 + ",x,5,1,9,false\n", "user id: expected 1 to 256 bytes of UTF-8, got 257 bytes"),
    ("ann,x,good,1,9,false\n", "value: expected a finite number, got 'good'"),
    ("ann,x,5,soon,9,false\n", "time: expected seconds of Unix time, or a date"),
    ("ann,x,5,1e12,9,false\n", "time: expected seconds of Unix time, 300 s from now at most, got 1000000000000"),
    ("ann,x,5,1,,false\n", "it has no event"),
    ("ann,x,5,1,9,perhaps\n", "withdrawn: expected true or false, got 'perhaps'"),
)


def columns_of(source: Source) -> tuple[object, ...]:
    found = read_interactions(source, NOW_S)
    return list(found.events()), found.user_ids, found.item_ids, found.stated.tolist()


@pytest.mark.parametrize(("row", "said"), BAD, ids=[said[:20] for _, said in BAD])
def test_what_is_left_is_as_if_the_bad_row_had_not_been(tmp_path: Path, row: str, said: str) -> None:
    clean, mixed = tmp_path / "clean.csv", tmp_path / "mixed.csv"
    clean.write_text(HEADER + "".join(GOOD))
    mixed.write_text(HEADER + GOOD[0] + "\n" + row + "".join(GOOD[1:]))
    source = Source(mixed, most_bad_rows=1)

    found = read_interactions(source, NOW_S)

    assert columns_of(source) == columns_of(Source(clean))
    assert found.left_out is not None
    assert (found.left_out.count, found.left_out.total) == (1, 4)
    [first] = found.left_out.first
    assert first.startswith(f"line 4: {said}")
    assert found.places is not None
    assert found.places.of((0, 1, 2)) == {0: "line 2", 1: "line 5", 2: "line 6"}
    with pytest.raises(ConfigError, match="line 4"):
        check_times(read_interactions(Source(mixed)), NOW_S)


def test_more_than_may_be_are_refused_with_the_first_of_them(tmp_path: Path) -> None:
    path = tmp_path / "told.csv"
    path.write_text(HEADER + GOOD[0] + "".join(row for row, _ in BAD))

    with pytest.raises(ConfigError) as raised:
        read_interactions(Source(path, most_bad_rows=9), NOW_S)

    assert str(raised.value).startswith(
        f"{path}: 10 rows cannot be read, 9 may be left out: line 3: cannot read it: expected 6 cells, got 5; line 4: "
    )
    assert str(raised.value).count("; line") == 4


@pytest.mark.parametrize("bad", ["ann,x,good\n", "ann\n"], ids=["cells", "rows"])
def test_a_file_of_nothing_else_is_refused(tmp_path: Path, bad: str) -> None:
    (tmp_path / "told.csv").write_text("user,item,rating\n" + bad * 7)

    with pytest.raises(ConfigError, match=r"none of 7 rows can be read: line 2: .*; line 6: "):
        read_interactions(Source(tmp_path / "told.csv", most_bad_rows=math.inf), NOW_S)


def test_rows_of_items_too(tmp_path: Path) -> None:
    vectors = pyarrow.array([[1.0, 2.0], [0.0, 0.0], [1.0], [3.0, 4.0]], pyarrow.list_(pyarrow.float32()))
    parquet.write_table(pyarrow.table({"item": ["a", "b", "c", "d"], "text": vectors}), tmp_path / "items.parquet")
    (tmp_path / "items.csv").write_text(
        'item,title,numbers_json,available\nx,X,"{""n"": 1}",true\n,Y,,true\ny,Y,{,true\nz,Z,,perhaps\nx,X2,,false\n'
    )

    packed = read_items(Source(tmp_path / "items.parquet", most_bad_rows=2))
    text = read_items(Source(tmp_path / "items.csv", most_bad_rows=3))

    assert {item: list(spaces) for item, spaces in packed.embeddings.items()} == {"a": ["text"], "d": ["text"]}
    assert packed.left_out == LeftOut(
        2,
        4,
        (
            'row 2: embeddings: space "text": expected a direction, got nothing but 0',
            'row 3: embeddings: space "text": expected 2 numbers as the first vector has, got 1',
        ),
    )
    assert (text.attributes, text.rows) == ({"x": ItemAttributes("X2", available=False)}, 2)
    assert text.left_out is not None
    assert [why[:7] for why in text.left_out.first] == ["line 3:", "line 4:", "line 5:"]


def test_an_import_says_what_it_left_out_and_keeps_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, data = tmp_path / "told.csv", tmp_path / "data"
    path.write_text(HEADER + "".join(GOOD) + BAD[5][0] + BAD[0][0])

    assert main(["recommender", "import", "--data", str(data), "--interactions", str(path), "--skip-bad-rows"]) == 0

    shown = capsys.readouterr().out
    assert "left out     2 of 5 rows, which cannot be read; the first:" in shown
    assert "line 5: value: expected a finite number, got 'good'" in shown
    assert "line 6: cannot read it: expected 6 cells, got 5" in shown
    assert "check  rows that cannot be read" in shown
    assert "line 6: cannot read it" in (data / "quality.html").read_text()
    store = Store(data, read_only=True)
    assert store.count_events() == 3
    store.close()
