"""Subtitles from results: SubRip and WebVTT, as pure functions.

A cue has at most two lines of 42 characters and stays for at most seven seconds; a pause begins a new one. Words bring
their own times; where there are none, a result's time is shared out by the number of characters.

Source: lines and durations as in Netflix's Timed Text Style Guide; WebVTT as in W3C, WebVTT: The Web Video Text Tracks
Format, section 4; SubRip has no specification, this is what its players read.
"""

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from cuelight.client.transcripts import RecognitionResult, Word

__all__ = ["MAX_CUE_S", "MAX_LINE_CHARACTERS", "Cue", "cues", "srt", "vtt"]

MAX_LINE_CHARACTERS = 42
MAX_LINES = 2
MAX_CUE_S = 7.0
_MIN_CUE_S = 1.0
"""A cue that is shorter than one can read stays longer, where the next one leaves room."""
_FLASH_S = 0.1
"""What a cue has left where others leave it no room: too short to read, but the text is not lost."""
_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Cue:
    """Lines on the screen from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    lines: tuple[str, ...]


def srt(results: Iterable[RecognitionResult]) -> str:
    """Return final results as a SubRip file."""
    return "\n".join(f"{number}\n{_block(cue, ',')}" for number, cue in enumerate(cues(results), 1))


def vtt(results: Iterable[RecognitionResult]) -> str:
    """Return final results as a WebVTT file."""
    escaped = (replace(cue, lines=tuple(_escaped(line) for line in cue.lines)) for cue in cues(results))
    return "\n".join(["WEBVTT\n", *(_block(cue, ".") for cue in escaped)])


def cues(results: Iterable[RecognitionResult]) -> list[Cue]:
    """Return what is on the screen and when: in order, none over another."""
    groups = [group for result in results if result.is_final for group in _groups(_timed_words(result))]
    found: list[Cue] = []
    for index, group in enumerate(groups):
        start_s = max(group[0].start_s, found[-1].end_s if found else 0.0)
        end_s = min(max(group[-1].end_s, start_s + _MIN_CUE_S), start_s + MAX_CUE_S)
        if index + 1 < len(groups):
            end_s = min(end_s, max(groups[index + 1][0].start_s, group[-1].end_s))
        found.append(Cue(start_s, max(end_s, start_s + _FLASH_S), tuple(_lines(group))))
    return found


def _timed_words(result: RecognitionResult) -> list[Word]:
    """Return a result's words, with times shared out by length where the model gave none."""
    if result.words:
        return [word for word in result.words if word.text.strip()]
    texts = result.text.split()
    total = sum(len(text) + 1 for text in texts)
    words, before = [], 0
    for text in texts:
        span_s = (result.end_s - result.start_s) / total
        start_s = result.start_s + before * span_s
        before += len(text) + 1
        words.append(Word(text, start_s, result.start_s + before * span_s))
    return words


def _groups(words: list[Word]) -> Iterator[list[Word]]:
    """Yield the words of one cue after another."""
    group: list[Word] = []
    for word in words:
        if group and not _belongs(group, word):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _belongs(group: list[Word], word: Word) -> bool:
    """Whether a word can stand in the same cue as those before it."""
    pause_s = word.start_s - group[-1].end_s
    fits = len(_lines([*group, word])) <= MAX_LINES
    return fits and pause_s < _PAUSE_S and word.end_s - group[0].start_s <= MAX_CUE_S


def _lines(group: list[Word]) -> list[str]:
    text = " ".join(" ".join(word.text.split()) for word in group)
    return textwrap.wrap(text, MAX_LINE_CHARACTERS, break_on_hyphens=False)


def _block(cue: Cue, point: str) -> str:
    """Return a cue's times and lines, as both formats have them but for the point in the seconds."""
    return "\n".join([f"{_time(cue.start_s, point)} --> {_time(cue.end_s, point)}", *cue.lines, ""])


def _time(seconds: float, point: str) -> str:
    """Return HH:MM:SS and milliseconds; hours grow beyond two digits where they must."""
    whole_s, ms = divmod(round(seconds * 1000), 1000)
    return f"{whole_s // 3600:02}:{whole_s // 60 % 60:02}:{whole_s % 60:02}{point}{ms:03}"


def _escaped(text: str) -> str:
    """Return text as WebVTT writes it: what would begin a tag or an entity, or look like an arrow, is escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
