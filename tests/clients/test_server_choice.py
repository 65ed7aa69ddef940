"""Which server comes next, and when: tables, no clock."""

import pytest

from cuelight.client.server_choice import ServerChoice, SpeechResumePolicy

POLICY = SpeechResumePolicy(give_up_after_s=10.0, initial_backoff_s=0.5, max_backoff_s=2.0)
FULL_JITTER = 1.0


def test_the_next_in_turn_is_asked_at_once() -> None:
    choice = ServerChoice(3, POLICY)
    choice.failed(100.0, FULL_JITTER)

    assert choice.turn(100.0) == 0.0
    assert choice.place == 1
    choice.failed(100.0, FULL_JITTER)
    assert choice.turn(100.0) == 0.0
    assert choice.place == 2


def test_after_a_round_of_failures_the_backoff_of_the_first_counts() -> None:
    choice = ServerChoice(2, POLICY)
    choice.failed(100.0, FULL_JITTER)
    choice.turn(100.0)
    choice.failed(100.1, FULL_JITTER)

    assert choice.turn(100.1) == pytest.approx(0.4)
    assert choice.place == 0
    assert choice.all_failed


def test_the_backoff_doubles_up_to_its_bound() -> None:
    choice, waits = ServerChoice(1, POLICY), []
    for now_s in (100.0, 101.0, 102.0, 103.0):
        choice.failed(now_s, FULL_JITTER)
        waits.append(choice.turn(now_s))

    assert waits == [0.5, 1.0, 2.0, 2.0]


def test_what_a_server_says_counts_before_any_backoff() -> None:
    choice = ServerChoice(2, POLICY)
    choice.failed(100.0, FULL_JITTER, hint_s=3.0)
    choice.turn(100.0)
    choice.failed(100.0, FULL_JITTER, hint_s=5.0)

    assert choice.turn(100.0) == 3.0
    assert choice.place == 0


def test_patience_is_counted_from_the_first_failure_in_a_row() -> None:
    choice = ServerChoice(1, POLICY)
    choice.failed(100.0, FULL_JITTER)
    assert choice.turn(100.0) is not None
    choice.failed(109.9, FULL_JITTER)
    assert choice.turn(109.9) is None

    choice.progressed()
    choice.failed(200.0, FULL_JITTER)
    assert choice.turn(200.0) == 0.5


@pytest.mark.parametrize(
    "figures",
    [
        {"max_ahead_bytes": 0},
        {"max_kept_bytes": 10, "max_ahead_bytes": 11},
        {"token_interval_s": 0},
        {"keep_alive_s": 0},
    ],
)
def test_figures_that_cannot_work_are_refused(figures: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        SpeechResumePolicy(**figures)  # type: ignore[arg-type]
