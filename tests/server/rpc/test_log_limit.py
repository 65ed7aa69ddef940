"""The bound on log lines about single calls."""

import logging

import pytest

from cuelight.server.rpc.log_limit import CallLineLimit, LineBudget


def test_lines_beyond_the_budget_are_counted_and_told_by_the_next_one() -> None:
    budget = LineBudget(2)

    taken = [budget.take(now_s) for now_s in (5.0, 5.1, 5.2, 5.9, 6.0, 6.5, 6.6, 9.0)]

    assert taken == [0, 0, None, None, 2, 0, None, 1]


@pytest.mark.parametrize(
    ("name", "level", "limited"),
    [
        ("cuelight.rpc", logging.INFO, True),
        ("cuelight.access", logging.INFO, True),
        ("cuelight.rpc", logging.ERROR, False),
        ("cuelight.repository", logging.INFO, False),
    ],
)
def test_only_lines_about_single_calls_that_are_not_our_failure_are_limited(
    name: str, level: int, limited: bool
) -> None:
    limit = CallLineLimit(1, clock=lambda: 5.0)
    records = [logging.makeLogRecord({"name": name, "levelno": level}) for _ in range(3)]

    seen = [limit.filter(record) for record in records]

    assert seen == [True, not limited, not limited]


def test_the_line_says_how_many_were_left_out() -> None:
    times = iter((5.0, 5.0, 5.0, 6.0))
    limit = CallLineLimit(1, clock=lambda: next(times))
    records = [logging.makeLogRecord({"name": "cuelight.rpc", "levelno": logging.INFO}) for _ in range(4)]

    seen = [limit.filter(record) for record in records]

    assert seen == [True, False, False, True]
    assert records[-1].__dict__["left_out"] == 2
    assert "left_out" not in records[0].__dict__
