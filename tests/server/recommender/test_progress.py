"""What a long command shows of how far it is, where no terminal is."""

import io

from cuelight.server.recommender.progress import plain_progress


def test_a_line_at_the_start_and_then_one_at_most_every_five_seconds() -> None:
    out, now_s = io.StringIO(), 0.0

    with plain_progress("recording", 1_000_000, out, lambda: now_s) as advance:
        for _ in range(12):
            now_s += 1.0
            advance(1000)

    assert out.getvalue().splitlines() == [
        "recording",
        "recording: 5,000 of 1,000,000",
        "recording: 10,000 of 1,000,000",
    ]


def test_without_a_total_there_is_no_share() -> None:
    out, now_s = io.StringIO(), 0.0

    with plain_progress("exporting items", None, out, lambda: now_s) as advance:
        now_s = 6.0
        advance(7)

    assert out.getvalue().splitlines() == ["exporting items", "exporting items: 7"]
