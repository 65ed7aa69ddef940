"""Where speech begins and ends in a stream, and where it is cut when it does not end. Pure: probabilities in, cuts out.

    SILENCE -> (enough speech) -> SPEECH -> (trailing silence, or too long) -> SILENCE, or SPEECH again after a cut

Speech starts where the probability reaches `threshold` and has ended when it stays below `end_threshold`; between the
two it is what it was. A segment begins `pre_roll_s` before its speech, never before the end of the one before it. One
that is long already is content with a shorter silence, so that it ends with a sentence rather than in the middle of
one: one that would grow longer than `max_s` is cut at its quietest step in the last third, and goes on from there.
Everything is counted in steps of the voice detector. Source of the thresholds: silero-vad 6.2, `get_speech_timestamps`.
"""

import json
import math
from dataclasses import dataclass
from typing import Literal

from cuelight.server.speech.endpoint_rules import EndpointRules

__all__ = ["STEP_S", "SegmentChange", "SegmentRules", "Segmenter", "segment_rules"]

STEP_S = 0.032
"""One step of Silero VAD: 512 samples at 16 kHz."""
_LONGEST_S = 15.0
"""Encoder time grows faster than the window, and the model was trained on speech of up to 30 s."""
_LONG_S = 5.0
_LONG_TRAILING_SHARE = 2 / 3
"""A live segment of more than 5 s ends at 0.48 s of silence instead of 0.7: windows are a fifth shorter. Word error of
69 LJSpeech utterances, spoken one after the other: 13.3 % without, 13.9 % with; at 0.38 s, 17.5 %."""
_MIN_SPEECH_S = 0.064
_SEARCHED_SHARE = 1 / 3
_SMOOTHED_STEPS = 3
"""The quietest point is that of the least mean over so many steps, so that one odd step does not split a word."""


@dataclass(frozen=True, slots=True)
class SegmentRules:
    """When a segment starts and ends. Probabilities 0 to 1, durations in seconds."""

    threshold: float = 0.5
    end_threshold: float = 0.35
    min_speech_s: float = _MIN_SPEECH_S
    trailing_silence_s: float = 0.7
    long_s: float = math.inf
    long_trailing_silence_s: float = 0.7
    """What ends a segment that is longer than `long_s`."""
    pre_roll_s: float = 0.288
    max_s: float = _LONGEST_S


@dataclass(frozen=True, slots=True)
class SegmentChange:
    """A segment starts or ends. `step` is where: the first step of the segment, or the first one behind it.

    `speech_step` is where speech itself began, or ended. A `cut` ends one segment and starts the next at once.
    """

    kind: Literal["started", "ended", "cut"]
    step: int
    speech_step: int


def segment_rules(endpointing: EndpointRules, live: bool = False) -> SegmentRules:
    """Return the rules for a caller's wishes: `max_utterance_s` is held to what the model can take in one piece.

    `live` says that windows are decoded while they grow, so that long ones are dear.
    Riva's windows become durations: a share of a window that must be silent is that long a silence.
    """
    trailing_s, speech_s = endpointing.trailing_silence_s, _MIN_SPEECH_S
    if endpointing.stop_history_s is not None:
        trailing_s = endpointing.stop_history_s * endpointing.stop_threshold
    if endpointing.start_history_s is not None:
        speech_s = endpointing.start_history_s * endpointing.start_threshold
    if endpointing.disabled:
        trailing_s = math.inf
    max_s = min(_LONGEST_S, max(1.0, endpointing.max_utterance_s))
    return SegmentRules(
        min_speech_s=speech_s,
        trailing_silence_s=trailing_s,
        long_s=_LONG_S if live else math.inf,
        long_trailing_silence_s=trailing_s * _LONG_TRAILING_SHARE,
        max_s=max_s,
    )


class Segmenter:
    """One stream's segments. `step` counts the probabilities taken."""

    def __init__(self, rules: SegmentRules | None = None) -> None:
        self._rules = rules if rules is not None else SegmentRules()
        self.step = 0
        self.start: int | None = None
        """First step of the open segment; None in silence."""
        self.speech_end = 0
        """The step behind the last one with speech."""
        self._free_from = 0
        self._candidate: int | None = None
        self._probabilities: list[float] = []

    @property
    def needed_from(self) -> int:
        """The first step whose audio an open or coming segment may still need."""
        if self.start is not None:
            return self.start
        if self._candidate is not None:
            return self._rolled(self._candidate)
        return self._rolled(self.step)

    def push(self, probability: float) -> list[SegmentChange]:
        """Take the probability of the next step and return what changes."""
        now, self.step = self.step, self.step + 1
        if self.start is None:
            return self._in_silence(now, probability)
        self._probabilities.append(round(probability, 3))
        if probability >= self._rules.end_threshold:
            self.speech_end = now + 1
        length_s = (now + 1 - self.start) * STEP_S
        is_long = length_s >= self._rules.long_s
        enough_s = self._rules.long_trailing_silence_s if is_long else self._rules.trailing_silence_s
        if (now + 1 - self.speech_end) * STEP_S >= enough_s:
            return [self.close()]
        if length_s >= self._rules.max_s:
            return [self._cut()]
        return []

    def close(self) -> SegmentChange:
        """End the open segment here and now."""
        assert self.start is not None
        self.start, self._candidate, self._free_from = None, None, self.step
        self._probabilities = []
        return SegmentChange("ended", self.step, self.speech_end)

    def restart_silence(self) -> None:
        """Let no coming segment reach back before this step."""
        self._candidate, self._free_from = None, self.step

    def snapshot(self) -> dict[str, object]:
        """Return the state as values for JSON."""
        return {
            "step": self.step,
            "start": self.start,
            "speech_end": self.speech_end,
            "free_from": self._free_from,
            "candidate": self._candidate,
            "probabilities": list(self._probabilities),
        }

    @staticmethod
    def restored(rules: SegmentRules, text: str | bytes) -> "Segmenter":
        """Return a segmenter that goes on from the JSON of a snapshot. Raises: ValueError, KeyError, TypeError."""
        state = json.loads(text)
        segmenter = Segmenter(rules)
        segmenter.step, segmenter.speech_end = int(state["step"]), int(state["speech_end"])
        segmenter._free_from = int(state["free_from"])
        segmenter.start = None if state["start"] is None else int(state["start"])
        segmenter._candidate = None if state["candidate"] is None else int(state["candidate"])
        segmenter._probabilities = [float(value) for value in state["probabilities"]]
        return segmenter

    def _in_silence(self, now: int, probability: float) -> list[SegmentChange]:
        if probability >= self._rules.threshold:
            self._candidate = now if self._candidate is None else self._candidate
        elif probability < self._rules.end_threshold:
            self._candidate = None
        if self._candidate is None or (now + 1 - self._candidate) * STEP_S < self._rules.min_speech_s:
            return []
        speech = self._candidate
        self.start, self.speech_end, self._candidate = self._rolled(speech), now + 1, None
        # The steps of the pre-roll were silent; their probabilities are not kept.
        self._probabilities = [0.0] * (speech - self.start) + [1.0] * (now + 1 - speech)
        return [SegmentChange("started", self.start, speech)]

    def _rolled(self, step: int) -> int:
        return max(self._free_from, step - round(self._rules.pre_roll_s / STEP_S))

    def _cut(self) -> SegmentChange:
        assert self.start is not None
        length = len(self._probabilities)
        first = min(length - 1, max(1, math.ceil(length * (1 - _SEARCHED_SHARE))))
        offset = min(range(first, length), key=lambda at: (self._loudness(at), -at))
        at = self.start + offset
        self.start, self._probabilities = at, self._probabilities[offset:]
        return SegmentChange("cut", at, at)

    def _loudness(self, at: int) -> float:
        near = self._probabilities[max(0, at - _SMOOTHED_STEPS // 2) : at + _SMOOTHED_STEPS // 2 + 1]
        return sum(near) / len(near)
