"""Subtitles: what the files look like, and what never happens on a screen."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from cuelight.client import Alternative, RecognitionResult, Word
from cuelight.client.subtitles import MAX_CUE_S, MAX_LINE_CHARACTERS, cues, srt, vtt


def said(text: str, start_s: float, end_s: float, *words: Word) -> RecognitionResult:
    return RecognitionResult((Alternative(text, 0.9, words),), True, start_s, end_s)


TWO = [said("Hello & welcome.", 0.5, 2.25), said("Tom <b> said", 3661.0, 3663.5)]


def test_subrip_is_numbered_blocks_with_a_comma_in_the_times() -> None:
    assert srt(TWO) == (
        "1\n00:00:00,500 --> 00:00:02,250\nHello & welcome.\n\n2\n01:01:01,000 --> 01:01:03,500\nTom <b> said\n"
    )


def test_webvtt_has_its_header_a_point_in_the_times_and_escapes() -> None:
    assert vtt(TWO) == (
        "WEBVTT\n\n"
        "00:00:00.500 --> 00:00:02.250\nHello &amp; welcome.\n\n"
        "01:01:01.000 --> 01:01:03.500\nTom &lt;b&gt; said\n"
    )


def test_nothing_said_is_an_empty_file() -> None:
    interim = RecognitionResult((Alternative("may change"),), False, 0, 1)

    assert srt([interim]) == ""
    assert vtt([said("", 0, 1)]) == "WEBVTT\n"


def test_words_bring_their_own_times() -> None:
    words = (Word("one", 1.0, 1.4), Word("two", 1.5, 2.2), Word("three", 4.0, 4.5))

    shown = [(cue.start_s, cue.end_s, cue.lines) for cue in cues([said("one two three", 0.8, 5.0, *words)])]

    # A second of pause begins a new cue; one shorter than a second stays for a second.
    assert shown == [(1.0, 2.2, ("one two",)), (4.0, 5.0, ("three",))]


def test_a_short_cue_gives_way_to_the_next() -> None:
    shown = cues([said("yes", 1.0, 1.2), said("no", 1.5, 3.0)])

    assert [(cue.start_s, cue.end_s) for cue in shown] == [(1.0, 1.5), (1.5, 3.0)]


def test_long_text_is_two_lines_of_42_characters_at_most() -> None:
    text = " ".join(["abcdefghi"] * 12)

    shown = cues([said(text, 0.0, 6.0)])

    # Four words of nine letters and their spaces fill 39 of 42 characters: eight words a cue.
    assert [cue.lines for cue in shown] == [(" ".join(["abcdefghi"] * 4),) * 2, (" ".join(["abcdefghi"] * 4),)]
    assert [(cue.start_s, cue.end_s) for cue in shown] == [(0.0, 4.0), (4.0, 6.0)]


def test_rounding_carries_into_the_minutes() -> None:
    assert srt([said("x", 59.9996, 3599.9999)]).splitlines()[1] == "00:01:00,000 --> 00:01:07,000"


durations = st.floats(0.0, 30.0)
results = st.lists(st.tuples(st.lists(st.text("ab c", min_size=1, max_size=60), max_size=12), durations, durations))


@given(results)
def test_whatever_is_said_cues_follow_one_another_and_fit(given_results: list[tuple[list[str], float, float]]) -> None:
    at_s, made, spoken = 0.0, [], []
    for texts, pause_s, length_s in given_results:
        start_s = at_s + pause_s
        at_s = start_s + length_s
        made.append(said(" ".join(texts), start_s, at_s))
        spoken += texts

    shown = cues(made)

    for cue in shown:
        assert 0 <= cue.start_s < cue.end_s <= cue.start_s + MAX_CUE_S + 1e-9
        assert 1 <= len(cue.lines) <= 2
        assert all(len(line) <= MAX_LINE_CHARACTERS for line in cue.lines)
    letters = "".join(line for cue in shown for line in cue.lines).replace(" ", "")
    assert letters == "".join(" ".join(spoken).split())
    assert all(before.end_s <= after.start_s for before, after in itertools.pairwise(shown))
