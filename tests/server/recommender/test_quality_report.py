"""The report on quality as people meet it: in the terminal, and as a page that needs nothing beside it."""

import base64
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cuelight.server.cli import main
from cuelight.server.errors import ConfigError
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.importing.import_command import import_files
from cuelight.server.recommender.importing.items import Items
from cuelight.server.recommender.importing.source import Source
from cuelight.server.recommender.quality.charts import values_chart
from cuelight.server.recommender.quality.measure import Imported, measure
from cuelight.server.recommender.quality.page import as_page
from cuelight.server.recommender.quality.plots import find_plotter
from cuelight.server.recommender.quality.report import Chart, Figure, Finding, Level, Mark, Report
from cuelight.server.recommender.quality.terminal import as_text, finding_cells
from cuelight.server.recommender.quality.time_order import YEAR_1995_S
from tests.server.recommender.told import Row, told

DAY_S = 86_400
START_S = 1_000_000_000
NOW_S = 1_700_000_000.0
VOID_ELEMENTS = {"meta", "img", "br"}

RATINGS = "userId,movieId,rating,timestamp\n" + "".join(
    f"zoe-{u},{i},{i % 5 + 1},{START_S + (10 * u + i) * DAY_S}\n" for u in range(6) for i in range(8)
)
AGAIN = f"zoe-0,0,1,{START_S}\n"
CONTRARY = f"zoe-0,0,5,{START_S}\n"
LOST = f"zoe-0,lost,4,{START_S}\n"
MOVIES = "movieId,title,genres\n" + "".join(f"{i},Film {i},Drama\n" for i in range(8)) + "8,,\n8,Film 7,\n"


class Elements(HTMLParser):
    """The elements of a page: how many there are, the texts of table rows, what is loaded from where."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.counts[tag] += 1
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in {"td", "th"}:
            self.rows[-1][-1] += data


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    ratings, movies = tmp_path / "ratings.csv", tmp_path / "movies.csv"
    ratings.write_text(RATINGS + AGAIN + CONTRARY + LOST)
    movies.write_text(MOVIES)
    return ratings, movies


def finding_rows(shown: str) -> dict[str, list[str]]:
    """Return what the terminal's table says of each finding, by its name: level, count, share, first, advice."""
    lines = shown.splitlines()
    [header] = [i for i, line in enumerate(lines) if line.startswith("LEVEL")]
    starts = [lines[header].index(name) for name in ("LEVEL", "FINDING", "COUNT", "SHARE", "FIRST", "WHAT TO DO")]
    ends = [*starts[1:], None]
    cells = [
        [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]
        for line in lines[header + 1 :]
        if line.startswith(tuple(Level))
    ]
    return {name: [level, *rest] for level, name, *rest in cells}


def test_an_import_shows_what_was_found_and_writes_the_page(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    words = ["--data", str(data), "--interactions", str(files[0]), "--items", str(files[1]), "--min-value", "4"]

    assert main(["recommender", "import", *words]) == 0

    shown = capsys.readouterr().out
    assert "quality of ratings.csv and movies.csv" in shown
    assert "51 of 6 users with 9 items" in shown
    assert "49 of a user and an item: 90.741% of all" in shown
    assert f"report        {data / 'quality.html'}" in shown
    found = finding_rows(shown)
    assert found["repeated events"] == ["note", "1", "2.0%", "line 50", "nothing: they count once"]
    assert found["another value at the same time"][:4] == ["check", "1", "2.0%", "line 51"]
    assert found["events with items not in the catalogue"][:4] == ["check", "1", "2.0%", "line 52"]
    assert found["items nobody touched"][:3] == ["note", "1", "11.1%"]
    assert found["items without tags"][:3] == ["check", "1", "11.1%"]
    assert found["items with a title of another"][:3] == ["check", "1", "11.1%"]
    assert found["rows of items told of before"][:3] == ["check", "1", "10.0%"]
    assert "in the future" not in found
    page = Elements((data / "quality.html").read_text())
    assert page.open == []
    assert ["check", "events with items not in the catalogue", "1", "2.0%", "line 52"] in [r[:5] for r in page.rows]


def test_the_page_goes_where_a_flag_says(files: tuple[Path, Path], tmp_path: Path) -> None:
    words = ["--data", str(tmp_path / "data"), "--items", str(files[1]), "--report", str(tmp_path / "page.html")]

    assert main(["recommender", "import", *words]) == 0

    assert "Quality of movies.csv" in (tmp_path / "page.html").read_text()
    assert not (tmp_path / "data" / "quality.html").exists()


def test_the_page_of_each_import_stays(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    for _ in range(3):
        import_files(data, Source(files[0]), None, None)
    import_files(data, None, Source(files[1]), None)

    assert "quality.html (before: quality-3.html)" in capsys.readouterr().out
    titles = {path.name: "movies.csv" in path.read_text() for path in data.glob("*.html")}
    assert titles == {"quality.html": True, **{f"quality-{n}.html": False for n in (1, 2, 3)}}


def test_a_page_that_cannot_be_written_is_said(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no/page.html: cannot write the quality report: No such file"):
        import_files(tmp_path / "data", None, Source(files[1]), None, tmp_path / "no" / "page.html")


def test_what_the_folder_knows_already_counts(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_files(tmp_path / "data", Source(files[0]), Source(files[1]), None)
    (tmp_path / "later.csv").write_text(f"user,item,time\nbob,1,{START_S}\n")
    capsys.readouterr()

    import_files(tmp_path / "data", Source(tmp_path / "later.csv"), None, None)

    found = finding_rows(capsys.readouterr().out)
    assert "events with items not in the catalogue" not in found
    assert found["items nobody touched"][1] == "1"


def test_no_user_is_named_in_the_page_so_that_it_can_stay_when_one_is_forgotten(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    bot = "".join(f"zoe-bot,{i},5,{START_S}\n" for i in range(500))
    files[0].write_text(RATINGS + bot)

    import_files(tmp_path / "data", Source(files[0]), Source(files[1]), None)

    page = (tmp_path / "data" / "quality.html").read_text()
    assert "users with far more events than others" in page
    assert "zoe-" not in page


def test_events_that_are_refused_are_in_the_report(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files[0].write_text(RATINGS + f"zoe-1,1,5,{START_S * 1000}\n")

    with pytest.raises(ConfigError, match=r"ratings.csv, line 50: time: .*; 1 rows are such"):
        import_files(tmp_path / "data", Source(files[0]), None, None)

    found = finding_rows(capsys.readouterr().out)
    assert found["in the future"] == [
        *("refused", "1", "2.0%", "line 50"),
        "they are milliseconds: divide by 1,000",
    ]


def test_without_matplotlib_the_page_has_tables_and_says_so(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    import_files(tmp_path / "data", Source(files[0]), Source(files[1]), None)

    assert 'tables alone; plots need matplotlib: pip install "cuelight[plots]"' in capsys.readouterr().out
    page = (tmp_path / "data" / "quality.html").read_text()
    elements = Elements(page)
    assert "plots need matplotlib" in page
    assert (elements.counts["img"], elements.counts["details"]) == (0, 0)
    assert elements.counts["section"] == 7


CHARTS = (
    Chart("Values", "value", ("1", "2"), {"events": (3.0, 4000.0)}),
    Chart("New", "from", ("2026-01-01",), {"users": (5.0,), "items": (6.0,)}),
)
REPORT = Report(
    "<b>ratings</b> & co",
    (Figure("events", "7 < 8"),),
    (Finding(Level.CHECK, "odd <i>", 1, 4, "look & see", 2),),
    CHARTS,
)


def test_a_page_is_whole_and_loads_nothing() -> None:
    plotter = find_plotter()
    assert plotter is not None

    page = Elements(as_page(REPORT, {2: "line 4"}, plotter))

    assert page.open == []
    assert page.counts["script"] == page.counts["link"] == page.counts["b"] == page.counts["i"] == 0
    assert page.counts["img"] == page.counts["section"] == len(CHARTS)
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.addresses)
    assert page.rows == [
        ["events", "7 < 8"],
        ["level", "finding", "count", "share", "first", "what to do"],
        ["check", "odd <i>", "1", "25.0%", "line 4", "look & see"],
        ["value", "events"],
        ["1", "3"],
        ["2", "4,000"],
        ["from", "users", "items"],
        ["2026-01-01", "5", "6"],
    ]


def test_the_same_chart_is_the_same_picture() -> None:
    plotter = find_plotter()
    assert plotter is not None

    assert plotter(CHARTS[1]) == plotter(CHARTS[1])


@pytest.mark.parametrize(
    ("count", "total", "share"), [(1, 1000, "0.1%"), (1, 1001, "< 0.1%"), (3, 3, "100.0%"), (4, None, "")]
)
def test_a_share_of_next_to_nothing_does_not_look_like_nothing(count: int, total: int | None, share: str) -> None:
    cells = finding_cells(Finding(Level.NOTE, "odd", count, total, "look"), {})

    assert cells == ("note", "odd", str(count), share, "", "look")


def test_nothing_found_is_said() -> None:
    report = Report("x.csv", (Figure("events", "7"),), (), ())

    assert as_text(report, {}).splitlines()[-1] == "nothing found that needs a look"
    assert "Nothing found that needs a look." in as_page(report, {}, None)


def imported(rows: Sequence[Row], catalogue: dict[str, ItemAttributes], min_value: float = 1.0) -> Imported:
    return Imported("x.csv", told(rows), Items(catalogue, len(catalogue)), catalogue, frozenset(), min_value)


def names(report: Report) -> set[str]:
    return {finding.what for finding in report.findings}


def test_clean_data_have_no_finding_to_check() -> None:
    rows = [
        (f"u{u}", f"i{i}", float(1 + (u + i) % 5), float(START_S + u * 100 + i)) for u in range(8) for i in range(9)
    ]
    catalogue = {f"i{i}": ItemAttributes(f"Item {i}", ("tag",), {"year": 2000.0}) for i in range(9)}

    assert measure(imported(rows, catalogue, 4.0), NOW_S).findings == ()


@pytest.mark.parametrize(
    ("min_value", "what"), [(1.0, "events that are likes"), (6.0, "events that are no likes"), (4.0, None)]
)
def test_where_everything_or_nothing_is_a_like_that_is_said(min_value: float, what: str | None) -> None:
    rows = [("a", "x", 1.0, 1e9), ("a", "y", 5.0, 1e9)]

    found = names(measure(imported(rows, {}, min_value), NOW_S)) & {"events that are likes", "events that are no likes"}

    assert found == ({what} if what else set())


def test_neither_times_nor_a_catalogue() -> None:
    data = Imported("x.csv", told([("a", "x", 1.0, 0.0)], has_times=False), None, {}, frozenset(), 1.0)

    report = measure(data, NOW_S)

    assert {"no times", "events without a catalogue"} <= names(report)
    assert [chart.title for chart in report.charts] == ["Values", "Events a user", "Events an item", "Popularity"]


@pytest.mark.parametrize(("event_ids", "counts"), [(None, "the first one counts"), (["1", "2", "3"], "the last one")])
def test_without_times_it_is_said_which_of_two_values_counts(event_ids: list[str] | None, counts: str) -> None:
    rows = [("a", "x", 1.0, 0.0), ("a", "y", 1.0, 0.0), ("a", "x", 2.0, 0.0)]
    data = Imported("x.csv", told(rows, event_ids, has_times=False), None, {}, frozenset(), 1.0)

    found = {finding.what: finding for finding in measure(data, NOW_S).findings}

    assert "another value at the same time" not in found
    assert f"; 1 rows give a user's item another value than one before: {counts}" in found["no times"].advice
    assert found["no times"].row == 2


@pytest.mark.parametrize(
    ("times", "shown"),
    [
        ((1.6e12, 1.65e12), "2020-09-13 to 2022-04-15, if they are milliseconds; seconds are expected"),
        ((1.6e9, 1.65e9), "2020-09-13 to 2022-04-15"),
        ((1.6e9, 1e18), "2020-09-13 to 1e+18 (as seconds no day of the years 1 to 9999)"),
    ],
)
def test_the_period_is_said_in_days_that_there_are(times: tuple[float, float], shown: str) -> None:
    rows = [("a", item, 1.0, time) for item, time in zip("xy", times, strict=True)]

    figures = {figure.name: figure.text for figure in measure(imported(rows, {}), NOW_S).figures}

    assert figures["time"] == shown


@pytest.mark.parametrize(
    ("values", "min_value", "at"),
    [((1, 2, 3, 4, 5), 4.0, 3.0), ((1, 2, 3, 4, 5), 3.5, 3.0), ((1, 2), 9.0, 2.0), (tuple(range(21)), 5.0, 2.5)],
)
def test_the_chart_of_values_says_where_likes_begin(values: tuple[float, ...], min_value: float, at: float) -> None:
    chart = values_chart(np.array(values, np.float64), min_value)

    assert chart.mark == Mark(at, f"likes: from {min_value:g} on")
    assert f"likes: from {min_value:g} on" in picture_of(chart)
    assert f"<p>likes: from {min_value:g} on</p>" in as_page(Report("x", (), (), (chart,)), {}, None)


def picture_of(chart: Chart) -> str:
    plotter = find_plotter()
    assert plotter is not None
    return base64.b64decode(plotter(chart).split(",", 1)[1]).decode()


def test_series_of_different_sizes_have_axes_of_their_own() -> None:
    together = Chart("New", "from", ("a", "b"), {"users": (5.0, 1.0), "items": (6000.0, 1.0)})
    apart = replace(together, apart=True)

    assert [picture_of(chart).count('<g id="axes_') for chart in (together, apart)] == [1, 2]


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.sampled_from("xyz"),
            st.floats(-1e9, 1e9),
            st.sampled_from((-1.0, 0.0, YEAR_1995_S, 1e9, NOW_S, 1e12, 1e18)),
        ),
        min_size=1,
        max_size=40,
    ),
    st.dictionaries(st.sampled_from("xyzw"), st.just(ItemAttributes("t"))),
)
def test_any_data_make_a_report_whose_counts_are_parts_of_their_totals(
    rows: list[Row], catalogue: dict[str, ItemAttributes]
) -> None:
    report = measure(imported(rows, catalogue), NOW_S)

    assert all(0 < finding.count <= (finding.total or finding.count) for finding in report.findings)
    assert all(finding.row is None or 0 <= finding.row < len(rows) for finding in report.findings)
    levels = [list(Level).index(finding.level) for finding in report.findings]
    assert levels == sorted(levels)
    for chart in report.charts:
        assert all(len(values) == len(chart.rows) and np.isfinite(values).all() for values in chart.series.values())
    assert Elements(as_page(report, dict.fromkeys(range(len(rows)), "line"), None)).open == []
