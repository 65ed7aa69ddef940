"""`cuelight recommender experiments`: what came of variants, as a table for people; reads beside a serving process."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from cuelight.server.recommender.experiments.statistics import Proportion, difference, p_of_difference, p_of_split
from cuelight.server.recommender.liking import min_value_of
from cuelight.server.recommender.store.exposures import Declared
from cuelight.server.recommender.store.outcomes import Outcome
from cuelight.server.recommender.store.store import Store
from cuelight.server.table import format_table

__all__ = ["show_experiments"]

_HEADER = (
    "experiment",
    "variant",
    "share",
    "users",
    "shelves",
    "likes",
    "hits",
    "likes/user",
    "with a hit",
    "rate (95 %)",
    "to the first (95 %)",
    "p",
)
_LEGEND = """
A hit is a like of an item that a shelf had shown before; "with a hit" are users with one or more, "rate" is their share
of the variant's users, with Wilson's interval. Differences to the first variant are in percentage points, with
Newcombe's interval; p is of the z-test of two proportions (Fisher's exact test where counts are small). They hold for
one look after a duration set beforehand, and for one comparison: of many looks or variants some differ by chance."""
_UNLIKELY_SPLIT = 0.001
"""So strict because it is looked at often. Source: Kohavi et al., Trustworthy online controlled experiments, 2020."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A variant and what came of it."""

    declared: Declared
    outcome: Outcome

    @property
    def hitting(self) -> Proportion | None:
        users = self.outcome.users
        return Proportion(self.outcome.users_with_hits, users) if users else None


def show_experiments(data: Path) -> int:
    """Print the table and return the exit code. Raises: ConfigError when the folder cannot be read."""
    rows = _read(data)
    if not rows:
        print(f"{data}: no experiments; [[experiments]] in the file of --config makes one")
        return 0
    by_experiment = [list(group) for _, group in groupby(rows, lambda row: row.declared.key.experiment)]
    print(format_table(_HEADER, [line for group in by_experiment for line in _lines(group)]))
    print(_LEGEND)
    for group in by_experiment:
        if warning := _warning(group):
            print(f"\n{warning}")
    return 0


def _read(data: Path) -> list[_Row]:
    store = Store(data, read_only=True)
    try:
        declared = store.exposures.declared()
        exposed, found = store.count_exposures(), store.count_outcomes(min_value_of(store))
    finally:
        store.close()
    return [_Row(one, _whole(exposed[one.key], found.get(one.key, Outcome()))) for one in declared]


def _whole(exposed: Outcome, found: Outcome) -> Outcome:
    return Outcome(exposed.users, exposed.shelves, found.likes, found.hits, found.users_with_hits)


def _lines(rows: Sequence[_Row]) -> list[tuple[str, ...]]:
    first = rows[0].hitting
    return [_line(row, None if row is rows[0] else first) for row in rows]


def _line(row: _Row, first: Proportion | None) -> tuple[str, ...]:
    declared, outcome, hitting = row.declared, row.outcome, row.hitting
    rate = compared = p = likes = "-"
    if hitting is not None:
        interval = hitting.interval()
        likes = f"{outcome.likes / outcome.users:.3f}"
        rate = f"{hitting.rate:.2%} ({interval.low:.2%} to {interval.high:.2%})"
        if first is not None:
            apart = difference(first, hitting)
            compared = f"{100 * (hitting.rate - first.rate):+.2f} ({100 * apart.low:+.2f} to {100 * apart.high:+.2f})"
            p = f"{p_of_difference(first, hitting):.4f}"
    counts = (outcome.users, outcome.shelves, outcome.likes, outcome.hits)
    return (
        declared.key.experiment,
        declared.key.variant,
        "-" if declared.share is None else f"{declared.share:.1%}",
        *(f"{count:,}" for count in counts),
        likes,
        f"{outcome.users_with_hits:,}",
        rate,
        compared,
        p,
    )


def _warning(rows: Sequence[_Row]) -> str | None:
    """Return what is wrong where the users are not split as the shares are."""
    running = [row for row in rows if row.declared.share]
    users = [row.outcome.users for row in running]
    p = p_of_split(users, [row.declared.share or 0.0 for row in running])
    if p is None or p >= _UNLIKELY_SPLIT:
        return None
    shares = ", ".join(f"{row.declared.key.variant} {row.outcome.users:,}" for row in running)
    return (
        f"{rows[0].declared.key.experiment}: the users are not split as the shares are ({shares}; p = {p:.1g}): shares "
        f"were changed, or one variant's users stay away. Its differences mean little."
    )
