"""Endpointing: tables of frames in, what happened out."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuelight.server.speech.endpoint_rules import EndpointRules
from cuelight.server.speech.endpointing import (
    EndAnnounced,
    Endpointer,
    EndpointEvent,
    UtteranceEnded,
    UtteranceStarted,
)

FRAME_S = 0.04


def frames_of(picture: str) -> list[bool]:
    """Return frames from a picture: `x` is speech, `.` is not; a number repeats what follows it, as in `30.`."""
    frames: list[bool] = []
    digits = ""
    for mark in picture.replace(" ", ""):
        if mark.isdigit():
            digits += mark
        else:
            frames += [mark == "x"] * int(digits or 1)
            digits = ""
    return frames


def happenings(rules: EndpointRules, *chunks: str, frame_s: float = FRAME_S) -> list[EndpointEvent]:
    endpointer = Endpointer(rules, frame_s)
    return [event for chunk in chunks for event in endpointer.advance(frames_of(chunk))]


DEFAULT = EndpointRules()
SILENT = EndpointRules(stop_history_s=0.4, stop_threshold=0.9, max_utterance_s=4.0)
"""Ten frames, nine of them silent."""


@pytest.mark.parametrize(
    ("rules", "chunks", "expected"),
    [
        pytest.param(DEFAULT, ["x"], [UtteranceStarted(0)], id="the first frame of speech starts it"),
        pytest.param(DEFAULT, ["..", ".xx"], [UtteranceStarted(3)], id="wherever in its chunk it is"),
        pytest.param(DEFAULT, ["x", "30."], [UtteranceStarted(0)], id="30 x 0.04 s are just short of 1.2 s in float32"),
        pytest.param(
            DEFAULT,
            ["x", "31."],
            [UtteranceStarted(0), UtteranceEnded(32, 1, "trailing_silence")],
            id="31 frames end it",
        ),
        pytest.param(DEFAULT, ["60."], [], id="nothing at all ends it after 2.4 s"),
        pytest.param(DEFAULT, ["61."], [UtteranceEnded(61, 0, "silence")], id="that is after 61 frames"),
        pytest.param(
            DEFAULT, ["x 31. x"], [UtteranceStarted(0)], id="silence that is over by the end of the chunk is forgotten"
        ),
        pytest.param(
            DEFAULT,
            ["499x", "x"],
            [UtteranceStarted(0), UtteranceEnded(500, 500, "max_utterance")],
            id="20 s end it whatever is said",
        ),
        pytest.param(EndpointRules(disabled=True), ["x", "400."], [UtteranceStarted(0)], id="disabled"),
        pytest.param(
            EndpointRules(disabled=True),
            ["x", "499."],
            [UtteranceStarted(0), UtteranceEnded(500, 1, "max_utterance")],
            id="disabled, but not endless",
        ),
        pytest.param(
            EndpointRules(silence_s=1.0, trailing_silence_s=3.0),
            ["x", "25."],
            [UtteranceStarted(0), UtteranceEnded(26, 1, "silence")],
            id="the silence of an empty utterance ends any, as sherpa-onnx's rule 1 does",
        ),
    ],
)
def test_silence_and_length(rules: EndpointRules, chunks: list[str], expected: list[EndpointEvent]) -> None:
    assert happenings(rules, *chunks) == expected


@pytest.mark.parametrize(
    ("rules", "chunks", "expected"),
    [
        pytest.param(SILENT, ["10."], [], id="a silent window ends nothing before speech"),
        pytest.param(SILENT, ["xx 8."], [UtteranceStarted(0)], id="eight silent of ten are not enough"),
        pytest.param(
            SILENT, ["xx 8.", "."], [UtteranceStarted(0), UtteranceEnded(11, 2, "stop_window")], id="nine of ten are"
        ),
        pytest.param(
            SILENT, ["x 4. x 9."], [UtteranceStarted(0), UtteranceEnded(15, 6, "stop_window")], id="a click is forgiven"
        ),
        pytest.param(SILENT, ["x 5."], [UtteranceStarted(0)], id="a window must be full"),
        pytest.param(SILENT, ["x 3. x 5."], [UtteranceStarted(0)], id="two clicks are not"),
        pytest.param(
            EndpointRules(start_history_s=0.2, start_threshold=0.6),
            ["x.x", ".", "x", "."],
            [UtteranceStarted(0)],
            id="three of five start it where the first of them is",
        ),
        pytest.param(
            EndpointRules(start_history_s=0.2, start_threshold=0.6), ["x..x...x..x"], [], id="too few start nothing"
        ),
        pytest.param(
            EndpointRules(stop_history_eou_s=0.2),
            ["x 4.", ".", "x", "5."],
            [UtteranceStarted(0), EndAnnounced(6), EndAnnounced(12)],
            id="an end is announced, again if it was wrong",
        ),
        pytest.param(
            EndpointRules(stop_history_eou_s=0.2, disabled=True), ["x", "9."], [UtteranceStarted(0)], id="disabled"
        ),
        pytest.param(
            EndpointRules(stop_history_s=0.4, stop_history_eou_s=0.2),
            ["x", "5.", "5."],
            [UtteranceStarted(0), EndAnnounced(6), UtteranceEnded(11, 1, "stop_window")],
            id="announced, then over",
        ),
    ],
)
def test_windows(rules: EndpointRules, chunks: list[str], expected: list[EndpointEvent]) -> None:
    assert happenings(rules, *chunks) == expected


def test_a_threshold_that_came_as_float32_is_the_number_that_was_meant() -> None:
    rules = EndpointRules(stop_history_s=2.0, stop_threshold=float(np.float32(0.98)))

    assert happenings(rules, "x 49.")[-1] == UtteranceEnded(50, 1, "stop_window"), "49 of 50 are 0.98"


def is_endpoint(rules: EndpointRules, frames: int, trailing: int) -> bool:
    """Compute endpoint.cc word by word: frames of 10 ms, four for each that comes out of the model, in float32."""
    shift = np.float32(0.01)
    length, silence = np.float32(4 * frames) * shift, np.float32(4 * trailing) * shift
    return bool(
        any(
            (length > silence or not needs_speech)
            and silence >= np.float32(least_silence)
            and length >= np.float32(least_length)
            for needs_speech, least_silence, least_length in (
                (False, rules.silence_s, 0.0),
                (True, rules.trailing_silence_s, 0.0),
                (False, 0.0, rules.max_utterance_s),
            )
        )
    )


SECONDS = st.integers(1, 300).map(lambda hundredths: hundredths / 100)


@settings(deadline=None)
@given(
    st.builds(EndpointRules, silence_s=SECONDS, trailing_silence_s=SECONDS, max_utterance_s=SECONDS),
    st.lists(st.lists(st.booleans(), min_size=1, max_size=8), max_size=40),
)
def test_it_ends_exactly_where_sherpa_onnx_ends_it(rules: EndpointRules, chunks: list[list[bool]]) -> None:
    endpointer = Endpointer(rules, FRAME_S)
    heard: list[bool] = []

    for chunk in chunks:
        heard += chunk
        trailing = next((back for back, is_speech in enumerate(reversed(heard)) if is_speech), len(heard))
        endpointer.advance(np.array(chunk))

        assert endpointer.ended == is_endpoint(rules, len(heard), trailing)
        if endpointer.ended:
            return


WINDOWS = st.builds(
    EndpointRules,
    stop_history_s=st.floats(0.04, 1.0),
    stop_threshold=st.floats(0.05, 1.0),
    max_utterance_s=st.floats(1.0, 8.0),
    disabled=st.booleans(),
)


@settings(deadline=None)
@given(WINDOWS, st.lists(st.booleans(), max_size=150))
def test_a_window_with_too_much_speech_never_ends_an_utterance(rules: EndpointRules, frames: list[bool]) -> None:
    endpointer = Endpointer(rules, FRAME_S)
    assert rules.stop_history_s is not None
    window = max(1, round(rules.stop_history_s / FRAME_S))

    for count, is_speech in enumerate(frames, 1):
        for event in endpointer.advance([is_speech]):
            if isinstance(event, UtteranceEnded) and event.reason == "stop_window":
                silent = window - sum(frames[max(0, count - window) : count])
                assert silent / window >= rules.stop_threshold - 1e-6
                assert any(frames[:count])
                assert not rules.disabled
        if endpointer.ended:
            return


@settings(deadline=None)
@given(WINDOWS, st.lists(st.booleans(), min_size=1, max_size=8))
def test_every_utterance_ends_by_its_longest_length(rules: EndpointRules, chunk: list[bool]) -> None:
    endpointer = Endpointer(rules, FRAME_S)

    while not endpointer.ended:
        assert endpointer.frames * FRAME_S < rules.max_utterance_s + 1e-3
        endpointer.advance(chunk)


@settings(deadline=None)
@given(
    st.sampled_from([DEFAULT, SILENT, EndpointRules(start_history_s=0.2, stop_history_eou_s=0.2)]),
    st.lists(st.lists(st.booleans(), min_size=1, max_size=4), max_size=40),
    st.integers(0, 40),
)
def test_a_restored_endpointer_goes_on_as_if_nothing_had_happened(
    rules: EndpointRules, chunks: list[list[bool]], cut: int
) -> None:
    whole, part = Endpointer(rules, FRAME_S), Endpointer(rules, FRAME_S)

    for index, chunk in enumerate(chunks):
        if index == cut:
            saved = json.loads(json.dumps(part.snapshot()))
            part = Endpointer(rules, FRAME_S)
            part.restore(saved)
        assert part.advance(chunk) == whole.advance(chunk)
        if whole.ended:
            return


def test_a_search_that_changes_its_mind_is_believed() -> None:
    endpointer = Endpointer(DEFAULT, FRAME_S)
    endpointer.advance(frames_of("5x 20. 3x"))

    events = endpointer.advance(frames_of("8."), trailing_silence_frames=31)

    assert events == (UtteranceEnded(36, 5, "trailing_silence"),), "the last three are taken back"


def test_reset_begins_a_new_utterance_with_nothing_of_the_old_one() -> None:
    endpointer = Endpointer(SILENT, FRAME_S)
    endpointer.advance(frames_of("x 10."))
    assert endpointer.ended

    endpointer.reset()

    assert (endpointer.frames, endpointer.decoded_anything, endpointer.ended) == (0, False, False)
    assert endpointer.advance(frames_of("x 8.")) == (UtteranceStarted(0),)
