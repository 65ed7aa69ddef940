"""The table of experiments, and the figures in it against other sources."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from cuelight.server.recommender.cli import main
from cuelight.server.recommender.experiments.outcomes import Outcomes
from cuelight.server.recommender.experiments.statistics import Proportion, difference, p_of_difference, p_of_split
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.exposures import Exposed, VariantKey
from cuelight.server.recommender.store.store import Store

A, B = VariantKey("home", "control"), VariantKey("home", "bold")


@pytest.mark.parametrize(
    ("proportion", "low", "high"),
    [(Proportion(81, 263), 0.2553, 0.3662), (Proportion(15, 148), 0.0624, 0.1605), (Proportion(0, 20), 0.0, 0.1611)],
)
def test_intervals_are_those_of_newcombes_table_1(proportion: Proportion, low: float, high: float) -> None:
    """Newcombe, Two-sided confidence intervals for the single proportion, 1998, table I, method 3."""
    found = proportion.interval()

    assert [found.low, found.high] == pytest.approx([low, high], abs=6e-5)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        (Proportion(48, 80), Proportion(56, 70), 0.0524, 0.3339),
        (Proportion(0, 10), Proportion(10, 10), 0.6075, 1.0),
        (Proportion(3, 10), Proportion(9, 10), 0.1705, 0.8090),
    ],
)
def test_differences_are_those_of_newcombes_table_2(
    first: Proportion, second: Proportion, low: float, high: float
) -> None:
    """Newcombe, Interval estimation for the difference between independent proportions, 1998, table II, method 10."""
    found = difference(first, second)

    assert [found.low, found.high] == pytest.approx([low, high], abs=6e-5)


def test_the_p_value_is_that_of_the_chi_square_test_and_of_fishers_where_counts_are_small() -> None:
    """Without Yates's correction chi-square with one degree of freedom is z squared."""
    from scipy.stats import chi2_contingency, fisher_exact  # noqa: PLC0415

    many = [[48, 32], [56, 14]]
    few = [[1, 19], [6, 14]]

    assert p_of_difference(Proportion(48, 80), Proportion(56, 70)) == pytest.approx(
        chi2_contingency(many, correction=False).pvalue
    )
    assert p_of_difference(Proportion(1, 20), Proportion(6, 20)) == pytest.approx(fisher_exact(few).pvalue)
    assert p_of_difference(Proportion(0, 9), Proportion(0, 900)) == 1.0


@pytest.mark.parametrize(
    ("users", "shares", "p"),
    [
        ([821_588, 815_482], [0.5, 0.5], 1.8e-6),
        ([50, 50], [0.5, 0.5], 1.0),
        ([5, 3], [0.5, 0.5], None),
        ([10], [1.0], None),
    ],
    ids=["Kohavi's example", "even", "too few", "alone"],
)
def test_a_split_that_is_not_as_the_shares_is_unlikely(
    users: Sequence[int], shares: Sequence[float], p: float | None
) -> None:
    """The first: Kohavi, Tang and Xu, Trustworthy online controlled experiments, 2020: a p of 1.8e-6."""
    assert p_of_split(users, shares) == (None if p is None else pytest.approx(p, rel=0.03))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Control has 80 users, 48 with a hit; bold has 70, 56 with a hit, 10 of these with another like."""
    store = Store(tmp_path / "data")
    store.declare_experiments({"home": {"control": 0.5, "bold": 0.5}, "mail": {"only": 1.0}})
    store.upsert_items({"x": ItemAttributes()})
    exposed = [Exposed(A, f"a{n}", 1.0, 2, {"x": 1.0}) for n in range(80)]
    exposed += [Exposed(B, f"b{n}", 1.0, 3, {"x": 1.0}) for n in range(70)]
    Outcomes(store, 1.0).expose(exposed)
    likes = [f"a{n}" for n in range(48)] + [f"b{n}" for n in range(56)]
    store.record([Event(user, user, "x", 1.0, 2.0) for user in likes])
    store.record([Event(f"more {n}", f"b{n}", "never shown", 1.0, 2.0) for n in range(10)])
    store.close()
    return tmp_path / "data"


def test_the_table_shows_each_variant_beside_the_first(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiments", "--data", str(folder)]) == 0

    printed = capsys.readouterr().out
    lines = [[cell.strip() for cell in line.split("  ") if cell] for line in printed.splitlines()]
    assert lines[1][:9] == ["home", "control", "50.0%", "80", "160", "48", "48", "0.600", "48"]
    assert lines[1][9:] == ["60.00% (49.05% to 70.04%)", "-", "-"]
    assert lines[2][:9] == ["home", "bold", "50.0%", "70", "210", "66", "56", "0.943", "56"]
    assert lines[2][9:] == ["80.00% (69.18% to 87.70%)", "+20.00 (+5.24 to +33.39)", "0.0080"]
    assert lines[3] == ["mail", "only", "100.0%", "0", "0", "0", "0", "-", "0", "-", "-", "-"]
    assert "not split" not in printed


def test_the_table_is_read_beside_a_serving_process_and_shows_what_ran_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serving = Store(folder)
    serving.declare_experiments({"home": {"bold": 1.0}})

    assert main(["experiments", "--data", str(folder)]) == 0

    serving.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:4] == ["home", "bold", "100.0%", "70"]
    assert lines[2].split()[:4] == ["home", "control", "-", "80"]


def test_a_split_that_is_not_as_the_shares_are_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(folder)
    Outcomes(store, 1.0).expose([Exposed(A, f"more {n}", 1.0, 1, {}) for n in range(300)])
    store.close()

    main(["experiments", "--data", str(folder)])

    assert "home: the users are not split as the shares are (control 380, bold 70; p = " in capsys.readouterr().out


def test_a_folder_without_experiments_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store(tmp_path).close()

    assert main(["experiments", "--data", str(tmp_path)]) == 0
    assert "no experiments" in capsys.readouterr().out
