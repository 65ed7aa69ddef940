"""The interval between decodes of a window follows how busy the engine's thread is, within its bounds."""

import pytest

from cuelight.server.speech.segmented.pace import LONGEST_S, SHORTEST_S, Pace


def after(busy: float, seconds: int, pace: Pace | None = None, start_s: float = 0.0) -> Pace:
    """Let a thread work for that share of its time, in turns of 100 ms."""
    pace = pace or Pace(start_s)
    for turn in range(1, seconds * 10 + 1):
        pace.worked(busy / 10, start_s + turn / 10)
    return pace


@pytest.mark.parametrize(("busy", "interval_s"), [(0.0, SHORTEST_S), (0.5, SHORTEST_S), (0.95, LONGEST_S)])
def test_the_busier_the_thread_the_longer_the_interval(busy: float, interval_s: float) -> None:
    assert after(busy, 20).interval_s == interval_s


def test_the_interval_settles_where_the_thread_has_its_share_of_work() -> None:
    pace = Pace(0.0)
    for second in range(60):
        # Work goes with one over the interval; at the shortest it would take 0.9 of the time.
        after(0.9 * SHORTEST_S / pace.interval_s, 1, pace, float(second))

    assert pace.interval_s == pytest.approx(0.9 * SHORTEST_S / 0.6, rel=0.05)


def test_when_the_crowd_has_left_the_interval_is_short_again() -> None:
    pace = after(0.95, 20)

    assert after(0.05, 20, pace, 20.0).interval_s == SHORTEST_S
