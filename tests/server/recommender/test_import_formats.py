"""Files as others write them: other separators, decimals and names, packed, and of formats that are refused by name."""

import gzip
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from cuelight.server.cli import main
from cuelight.server.errors import ConfigError
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.importing.interactions import read_interactions
from cuelight.server.recommender.importing.items import read_items
from cuelight.server.recommender.importing.source import Source
from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.store import Store

HEADER = ("user", "item", "rating", "timestamp")
ROWS = (("ann", "x, y", "4.5", "100"), ("bob", "z", "3", "200"))
EVENTS = [Event("import ann x, y 100", "ann", "x, y", 4.5, 100.0), Event("import bob z 200", "bob", "z", 3.0, 200.0)]


def written(path: Path, delimiter: str, decimal: str = ".") -> Path:
    rows = [(user, f'"{item}"', value.replace(".", decimal), time) for user, item, value, time in ROWS]
    path.write_text("".join(delimiter.join(cells) + "\n" for cells in (HEADER, *rows)))
    return path


def events_of(source: Source) -> list[Event]:
    return list(read_interactions(source).events())


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["told.csv", "told.tsv", "told.txt"])
def test_what_separates_cells_is_found_in_the_header(tmp_path: Path, name: str, delimiter: str) -> None:
    assert events_of(Source(written(tmp_path / name, delimiter))) == EVENTS


def test_a_delimiter_that_is_said_wins(tmp_path: Path) -> None:
    path = tmp_path / "told.csv"
    path.write_text("user:item,event_id\nann:x,1\n")

    with pytest.raises(ConfigError, match=r"line 1: expected a column for the user, got user:item, event_id"):
        read_interactions(Source(path))
    with pytest.raises(ConfigError, match=r"line 1: expected a column for the item, got user, item,event_id"):
        read_interactions(Source(path, ":"))

    assert events_of(Source(written(tmp_path / "other.csv", ":"), ":")) == EVENTS


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_a_decimal_comma_is_one_where_it_does_not_separate_cells(tmp_path: Path, delimiter: str) -> None:
    assert events_of(Source(written(tmp_path / "told.csv", delimiter, ","))) == EVENTS


def test_decimal_commas_and_points_in_one_column_of_which_one_cell_is_odd(tmp_path: Path) -> None:
    (tmp_path / "told.csv").write_text("user;item;rating\na;x;4,5\nb;x;4.5\nc;x;4,x\n")

    with pytest.raises(ConfigError, match=r"line 4: value: expected a finite number, got '4,x'$"):
        read_interactions(Source(tmp_path / "told.csv"))


def test_numbers_of_items_may_have_decimal_commas(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item;title;weight\nx;One, two;1,5\ny;Three;2\n")

    assert read_items(Source(tmp_path / "items.csv")).attributes == {
        "x": ItemAttributes("One, two", (), {"weight": 1.5}),
        "y": ItemAttributes("Three", (), {"weight": 2.0}),
    }


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("ann,x,4,5", "line 2: cannot read it: expected 3 cells, got 4; a decimal comma, or a comma in a text without"),
        ('ann,x,"4,5"', "line 2: value: expected a finite number, got '4,5'; write a decimal point, or separate cells"),
    ],
)
def test_a_decimal_comma_among_commas_is_said_to_be_one(tmp_path: Path, row: str, said: str) -> None:
    (tmp_path / "told.csv").write_text(f"user,item,rating\n{row}\n")

    with pytest.raises(ConfigError, match=said):
        read_interactions(Source(tmp_path / "told.csv"))


def test_columns_by_names_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "told.csv").write_text("Listener;Track;Stars;When;rating\nann;007;5;100;1\n")
    (tmp_path / "items.csv").write_text("key;caption;kinds;id\n007;Seven;Drama|Crime;9\n")
    words = ["--user-column", "listener", "--item-column", "Track", "--value-column", "Stars", "--time-column", "When"]
    words += ["--id-column", "key", "--title-column", "caption", "--tags-column", "kinds"]
    files = ["--interactions", str(tmp_path / "told.csv"), "--items", str(tmp_path / "items.csv")]

    assert main(["recommender", "import", "--data", str(tmp_path / "data"), *files, *words]) == 0

    store = Store(tmp_path / "data", read_only=True)
    assert store.export_user("ann") == [Event("import ann 007 100", "ann", "007", 5.0, 100.0)]
    assert store.attributes() == [ItemAttributes("Seven", ("Drama", "Crime"))]
    store.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--user-column", "who"], 'line 1: expected a column "who" for the user, as it was named, got user, item'),
        (["--title-column", "caption"], "--title-column: it names a column of --items, which is not given"),
        (["--delimiter", ";;"], "--delimiter: got ';;', expected one character, or tab"),
        (["--skip-bad-rows", "-1"], "--skip-bad-rows: got -1, expected 0 or more"),
    ],
)
def test_what_is_said_of_a_file_and_cannot_be(
    tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "told.csv"
    path.write_text("user,item\nann,x\n")

    assert main(["recommender", "import", "--data", str(tmp_path / "d"), "--interactions", str(path), *words]) == 2

    assert said in capsys.readouterr().err


def test_a_file_that_is_named_twice_is_refused_and_not_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--interactions", "one.csv", "--interactions", "two.csv"]

    with pytest.raises(SystemExit) as ended:
        main(["recommender", "import", "--data", str(tmp_path / "data"), *words])

    assert ended.value.code == 2
    assert "--interactions: got it twice, expected one file; import the files one" in capsys.readouterr().err


def test_packed_files_are_read_and_their_lines_named(tmp_path: Path) -> None:
    plain = written(tmp_path / "told.csv", ";").read_bytes()
    (tmp_path / "told.csv.gz").write_bytes(gzip.compress(plain))
    (tmp_path / "u.data.gz").write_bytes(gzip.compress(b"ann\tx\t5\t100\n"))
    (tmp_path / "odd.csv.gz").write_bytes(gzip.compress(plain + b"ann;x;good;1\n"))
    parquet.write_table(pyarrow.table({"user": ["ann"], "item": ["x"], "time": [100]}), tmp_path / "told.parquet")
    (tmp_path / "told.parquet.gz").write_bytes(gzip.compress((tmp_path / "told.parquet").read_bytes()))

    assert events_of(Source(tmp_path / "told.csv.gz")) == EVENTS
    assert events_of(Source(tmp_path / "u.data.gz")) == [Event("import ann x 100", "ann", "x", 5.0, 100.0)]
    assert events_of(Source(tmp_path / "told.parquet.gz")) == [Event("import ann x 100", "ann", "x", 1.0, 100.0)]
    with pytest.raises(ConfigError, match=r"odd.csv.gz, line 4: value: expected a finite number, got 'good'"):
        read_interactions(Source(tmp_path / "odd.csv.gz"))


NOT_READ = "is not a format that import reads: CSV, TSV, Parquet, each also .gz"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("told.json", b"[]", rf"told.json: .json \(JSON\) {NOT_READ}"),
        ("told.jsonl.gz", b"", rf"told.jsonl.gz: .jsonl \(JSON\) {NOT_READ}"),
        ("told.xlsx", b"PK", rf"told.xlsx: .xlsx \(a spreadsheet\) {NOT_READ}"),
        ("told.zip", b"PK\x03\x04", rf"told.zip: .zip \(an archive\) {NOT_READ}"),
        ("told.csv", b'{"user": "ann"}\n', rf"told.csv: it looks like JSON which {NOT_READ}"),
        ("told.txt", b' [\n {"user": 1}]', rf"told.txt: it looks like JSON which {NOT_READ}"),
        ("told.csv", b"PAR1", "told.csv: it looks like Parquet, and its name has no .parquet"),
        ("told.csv", gzip.compress(b"user,item\n"), "told.csv: it looks like gzip, and its name does not end in .gz"),
        ("told.csv.gz", b"user,item\n", "told.csv.gz: cannot unpack it: Not a gzipped file"),
        ("told.csv.gz", gzip.compress(b"user,item\n")[:-9], "told.csv.gz: cannot unpack it: Compressed file ended"),
    ],
)
def test_other_formats_are_refused_by_name(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ConfigError, match=said):
        read_interactions(Source(tmp_path / name))


def test_a_time_that_is_none_is_named_among_dates(tmp_path: Path) -> None:
    (tmp_path / "told.csv").write_text("user,item,time\na,x,2026-01-31T12:00:00Z\nb,x,soon\n")

    with pytest.raises(ConfigError, match=r"line 3: time: .*, got 'soon'"):
        read_interactions(Source(tmp_path / "told.csv"))
