"""What a recognizer tells: words, hypotheses, results, events. Plain values, without grpc or asyncio."""

from dataclasses import dataclass
from typing import Literal

from cuelight.server.inference.sequence_batch import SequenceState

__all__ = ["Hypothesis", "Result", "SpeechEvent", "Update", "VoiceState", "Word"]


@dataclass(frozen=True, slots=True)
class Word:
    """One word; times in seconds from the start of the audio, confidence 0 to 1."""

    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What may have been said. `text` has no space in front or behind; `confidence` is 0 to 1."""

    text: str
    confidence: float = 0.0
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """A stretch of audio, recognized; the best hypothesis first, at least one. Interim results have a stability."""

    hypotheses: tuple[Hypothesis, ...]
    is_final: bool
    start_s: float
    end_s: float
    utterance: int
    stability: float = 0.0


@dataclass(frozen=True, slots=True)
class SpeechEvent:
    """Speech begins or ends, `at_s` seconds from the start of the audio."""

    kind: Literal["started", "ended"]
    at_s: float


@dataclass(frozen=True, slots=True)
class VoiceState:
    """A voice between two samples: all that another server needs to go on, but for the audio from `start_sample` on.

    `start_sample` counts at the model's rate. `sequence` is the state of the model that is stepped, if there is one;
    `recognizer` is JSON in the recognizer's own form.
    """

    start_sample: int
    utterance: int
    sequence: SequenceState | None
    recognizer: bytes


@dataclass(frozen=True, slots=True)
class Update:
    """What is new about a voice, in order. `processed_s`: how much audio it has taken; `state`: where it can go on."""

    results: tuple[Result, ...] = ()
    events: tuple[SpeechEvent, ...] = ()
    processed_s: float = 0.0
    state: VoiceState | None = None
