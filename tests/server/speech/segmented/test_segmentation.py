"""Probabilities in, segments out: `run` spells a stream as pairs of a number of steps and their probability."""

import itertools
import json
import math
from dataclasses import replace

import pytest

from cuelight.server.speech.endpoint_rules import EndpointRules
from cuelight.server.speech.segmented.segmentation import STEP_S, SegmentChange, Segmenter, SegmentRules, segment_rules

RULES = SegmentRules(min_speech_s=2 * STEP_S, trailing_silence_s=10 * STEP_S, pre_roll_s=4 * STEP_S, max_s=60 * STEP_S)


def run(segmenter: Segmenter, *stretches: tuple[int, float]) -> list[SegmentChange]:
    return [change for steps, probability in stretches for _ in range(steps) for change in segmenter.push(probability)]


@pytest.mark.parametrize(
    ("stretches", "changes"),
    [
        ([(100, 0.0)], []),
        ([(20, 0.0), (1, 0.9), (20, 0.0)], []),
        ([(20, 0.0), (10, 0.9)], [("started", 16, 20)]),
        ([(2, 0.0), (10, 0.9)], [("started", 0, 2)]),
        ([(20, 0.0), (10, 0.9), (9, 0.1)], [("started", 16, 20)]),
        ([(20, 0.0), (10, 0.9), (10, 0.1)], [("started", 16, 20), ("ended", 40, 30)]),
        ([(20, 0.0), (10, 0.9), (9, 0.1), (1, 0.4), (9, 0.1)], [("started", 16, 20)]),
        ([(20, 0.0), (10, 0.45)], []),
        (
            [(20, 0.0), (10, 0.9), (12, 0.1), (10, 0.9)],
            [("started", 16, 20), ("ended", 40, 30), ("started", 40, 42)],
        ),
    ],
)
def test_speech_starts_and_ends(stretches: list[tuple[int, float]], changes: list[tuple[str, int, int]]) -> None:
    found = run(Segmenter(RULES), *stretches)

    assert [(change.kind, change.step, change.speech_step) for change in found] == changes


def test_a_long_segment_ends_at_a_shorter_silence() -> None:
    rules = replace(RULES, long_s=30 * STEP_S, long_trailing_silence_s=6 * STEP_S)

    changes = run(Segmenter(rules), (10, 0.9), (8, 0.1), (20, 0.9), (6, 0.1))

    assert [(change.kind, change.step, change.speech_step) for change in changes] == [
        ("started", 0, 0),
        ("ended", 44, 38),
    ]


def test_only_live_segments_are_content_with_a_shorter_silence() -> None:
    assert segment_rules(EndpointRules(trailing_silence_s=0.9)).long_s == math.inf

    live = segment_rules(EndpointRules(trailing_silence_s=0.9), live=True)
    assert live.long_s < live.max_s
    assert live.long_trailing_silence_s == pytest.approx(0.6)


def test_speech_that_does_not_pause_is_cut_where_it_is_quietest_and_nothing_is_lost() -> None:
    segmenter = Segmenter(RULES)

    changes = run(segmenter, (50, 0.9), (3, 0.5), (20, 0.9))

    assert [(change.kind, change.step) for change in changes] == [("started", 0), ("cut", 51)]
    assert segmenter.start == 51


def test_speech_of_one_loudness_is_cut_late_rather_than_early() -> None:
    changes = run(Segmenter(RULES), (60, 0.9))

    assert changes[-1].kind == "cut"
    assert 40 <= changes[-1].step < 60


def test_no_segment_is_longer_than_allowed_however_long_one_speaks() -> None:
    changes = run(Segmenter(RULES), (1000, 0.9))

    starts = [change.step for change in changes]
    assert len(starts) > 15
    assert all(0 < later - earlier <= 60 for earlier, later in itertools.pairwise(starts))


@pytest.mark.parametrize("step", [3, 25, 36, 45, 70, 111])
def test_a_segmenter_goes_on_elsewhere_as_if_nothing_had_happened(step: int) -> None:
    probabilities = [0.0] * 20 + [0.9] * 12 + [0.1] * 8 + [0.7] * 70 + [0.0] * 30
    whole, first = Segmenter(RULES), Segmenter(RULES)
    expected = [change for probability in probabilities for change in whole.push(probability)]

    found = [change for probability in probabilities[:step] for change in first.push(probability)]
    second = Segmenter.restored(RULES, json.dumps(first.snapshot()))
    found += [change for probability in probabilities[step:] for change in second.push(probability)]

    assert found == expected


@pytest.mark.parametrize(
    ("endpointing", "trailing_s", "min_speech_s", "max_s"),
    [
        (EndpointRules(trailing_silence_s=0.7), 0.7, 0.064, 15.0),
        (EndpointRules(max_utterance_s=5.0), 1.2, 0.064, 5.0),
        (EndpointRules(stop_history_s=0.8, stop_threshold=0.5), 0.4, 0.064, 15.0),
        (EndpointRules(start_history_s=0.5, start_threshold=0.2), 1.2, 0.1, 15.0),
        (EndpointRules(disabled=True), math.inf, 0.064, 15.0),
    ],
)
def test_a_callers_rules_become_those_of_segments(
    endpointing: EndpointRules, trailing_s: float, min_speech_s: float, max_s: float
) -> None:
    rules = segment_rules(endpointing)

    assert (rules.trailing_silence_s, rules.max_s) == (trailing_s, max_s)
    assert rules.min_speech_s == pytest.approx(min_speech_s)
