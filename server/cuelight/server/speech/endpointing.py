"""When an utterance begins and ends: a rule over frames that are speech or are not. No clock, no audio.

    QUIET ----- start window is speech ------> SPEAKING
    SPEAKING -- announcing window is silent -> ANNOUNCED
    ANNOUNCED - announcing window is not ----> SPEAKING
    any ------- a rule ends it --------------> ENDED, until `reset`

What ends an utterance is looked at after each chunk, with all its frames: a model cannot be reset within one. Silence
comes in two forms. sherpa-onnx's counts the silent frames at the end: `silence_s` of them where no frame was speech,
`trailing_silence_s` where one was. Riva's looks at the last `stop_history_s`, of which the share `stop_threshold` must
be silent, and asks for speech before it: an utterance without any does not end by its window. The length
`max_utterance_s` ends any utterance.

Source: sherpa-onnx, endpoint.cc, to the same float32 arithmetic; NVIDIA Riva, EndpointingConfig.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cuelight.server.speech.endpoint_rules import EndpointRules

__all__ = ["EndAnnounced", "EndReason", "EndpointEvent", "Endpointer", "UtteranceEnded", "UtteranceStarted"]

EndReason = Literal["silence", "trailing_silence", "max_utterance", "stop_window"]


@dataclass(frozen=True, slots=True)
class UtteranceStarted:
    """Speech begins at `frame` of the utterance: where the window that shows it begins."""

    frame: int


@dataclass(frozen=True, slots=True)
class EndAnnounced:
    """The utterance seems to be over after `frame` frames; it may yet go on."""

    frame: int


@dataclass(frozen=True, slots=True)
class UtteranceEnded:
    """The utterance is over after `frame` frames; `speech_end` is how many there were up to the last one of speech."""

    frame: int
    speech_end: int
    reason: EndReason


EndpointEvent = UtteranceStarted | EndAnnounced | UtteranceEnded


class _State(Enum):
    QUIET = "quiet"
    SPEAKING = "speaking"
    ANNOUNCED = "announced"
    ENDED = "ended"


class Endpointer:
    """The state of one utterance. Owned by its voice."""

    def __init__(self, rules: EndpointRules, frame_s: float) -> None:
        self._rules = rules
        self._silence_frames = _frames_to_reach(rules.silence_s, frame_s)
        self._trailing_silence_frames = _frames_to_reach(rules.trailing_silence_s, frame_s)
        self._max_frames = _frames_to_reach(rules.max_utterance_s, frame_s)
        self._start_frames = _frames_in(rules.start_history_s, frame_s) or 1
        self._stop_frames = _frames_in(rules.stop_history_s, frame_s)
        self._announce_frames = _frames_in(rules.stop_history_eou_s, frame_s)
        self._kept_frames = max(self._start_frames, self._stop_frames or 0, self._announce_frames or 0)
        self.reset()

    def reset(self) -> None:
        """Begin the next utterance at frame 0."""
        self._state = _State.QUIET
        self._history: list[bool] = []
        """The last frames, as many as the longest window has."""
        self.frames = 0
        self.trailing_silence_frames = 0

    @property
    def decoded_anything(self) -> bool:
        """Whether a frame of the utterance was speech."""
        return self.frames > self.trailing_silence_frames

    @property
    def ended(self) -> bool:
        """Whether the utterance is over: `reset` is due."""
        return self._state is _State.ENDED

    def advance(
        self, speech: Sequence[bool] | NDArray[np.bool_], trailing_silence_frames: int | None = None
    ) -> tuple[EndpointEvent, ...]:
        """Take the frames of one chunk and return what happened, in order.

        A search that changed its mind about earlier frames says how many silent ones there are now at the end.
        """
        assert self._state is not _State.ENDED, "an utterance that has ended takes no frames: reset it"
        events: list[EndpointEvent] = []
        if self._state is _State.QUIET:
            for is_speech in speech:
                self._hear(bool(is_speech), events)
        else:
            self._hear_on(list(map(bool, speech)))
        if trailing_silence_frames is not None:
            self.trailing_silence_frames = trailing_silence_frames
        reason = self._reason_to_end()
        if reason is not None:
            self._state = _State.ENDED
            events.append(UtteranceEnded(self.frames, self.frames - self.trailing_silence_frames, reason))
        else:
            self._announce(events)
        return tuple(events)

    def snapshot(self) -> dict[str, Any]:
        """Return all that `restore` needs, in JSON's types."""
        return {
            "state": self._state.value,
            "history": "".join("1" if is_speech else "0" for is_speech in self._history),
            "frames": self.frames,
            "trailing": self.trailing_silence_frames,
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on where a snapshot was taken, under the same rules."""
        self._state = _State(snapshot["state"])
        self._history = [mark == "1" for mark in snapshot["history"]]
        self.frames = snapshot["frames"]
        self.trailing_silence_frames = snapshot["trailing"]

    def _hear(self, is_speech: bool, events: list[EndpointEvent]) -> None:
        self.frames += 1
        self.trailing_silence_frames = 0 if is_speech else self.trailing_silence_frames + 1
        self._history.append(is_speech)
        if len(self._history) > self._kept_frames:
            del self._history[0]
        if self._state is _State.QUIET and is_speech and self._starts():
            self._state = _State.SPEAKING
            first = self._history[-self._start_frames :].index(True)
            window = min(self._start_frames, len(self._history))
            events.append(UtteranceStarted(self.frames - window + first))

    def _hear_on(self, speech: list[bool]) -> None:
        """Take frames when it is known that somebody speaks."""
        self.frames += len(speech)
        self._history += speech
        del self._history[: -self._kept_frames]
        silent = next((count for count, is_speech in enumerate(reversed(speech)) if is_speech), None)
        self.trailing_silence_frames = self.trailing_silence_frames + len(speech) if silent is None else silent

    def _starts(self) -> bool:
        # a window that is not full yet counts as silent before its first frame
        return _holds(sum(self._history[-self._start_frames :]), self._start_frames, self._rules.start_threshold)

    def _announce(self, events: list[EndpointEvent]) -> None:
        if self._announce_frames is None or self._rules.disabled or self._state is _State.QUIET:
            return
        silent = self._is_silent(self._announce_frames, self._rules.stop_threshold_eou)
        if silent and self._state is not _State.ANNOUNCED:
            self._state = _State.ANNOUNCED
            events.append(EndAnnounced(self.frames))
        elif not silent and self._state is _State.ANNOUNCED:
            self._state = _State.SPEAKING

    def _reason_to_end(self) -> EndReason | None:
        rules = self._rules
        if not rules.disabled:
            if self._stop_frames is not None:
                if self.decoded_anything and self._is_silent(self._stop_frames, rules.stop_threshold):
                    return "stop_window"
            elif self.decoded_anything and self.trailing_silence_frames >= self._trailing_silence_frames:
                return "trailing_silence"
            elif self.trailing_silence_frames >= self._silence_frames:
                return "silence"
        return "max_utterance" if self.frames >= self._max_frames else None

    def _is_silent(self, window: int, threshold: float) -> bool:
        if len(self._history) < window:
            return False
        return _holds(window - sum(self._history[-window:]), window, threshold)


def _frames_to_reach(seconds: float, frame_s: float) -> float:
    """Return the least number of frames that endpoint.cc finds long enough.

    It compares in float32, where 30 frames of 0.04 s are just short of 1.2 s.
    """
    if math.isinf(seconds):
        return seconds
    frames = max(0, int(seconds / frame_s) - 2)
    while np.float32(frames) * np.float32(frame_s) < np.float32(seconds):
        frames += 1
    return frames


def _frames_in(seconds: float | None, frame_s: float) -> int | None:
    """Return how many whole frames a window holds, at least one; None where there is no window."""
    return None if seconds is None else max(1, round(seconds / frame_s))


def _holds(count: int, window: int, threshold: float) -> bool:
    # settings come as float32: 49 of 50 frames are the share 0.98
    return bool(np.float32(count / window) >= np.float32(threshold))
