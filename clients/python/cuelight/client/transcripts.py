"""What a speech stream tells: words, results, events. Times are in seconds from the first sample of the audio."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from cuelight.speech.v1 import speech_pb2 as pb

__all__ = [
    "Alternative",
    "RecognitionResult",
    "SpeechEvent",
    "SpeechUpdate",
    "StreamStarted",
    "Transcript",
    "Word",
    "events_from",
    "result_from",
    "started_from",
]


@dataclass(frozen=True, slots=True)
class Word:
    """One word as it is written in the transcript; confidence 0 to 1."""

    text: str
    start_s: float
    end_s: float
    confidence: float = 0.0


@dataclass(frozen=True, slots=True)
class Alternative:
    """What may have been said. `words` is empty where they were not asked for or the model gives none."""

    text: str
    confidence: float = 0.0
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class RecognitionResult:
    """A stretch of audio, recognized; the best alternative first. A final result is the last of its utterance."""

    alternatives: tuple[Alternative, ...]
    is_final: bool
    start_s: float
    end_s: float
    utterance: int = 0
    stability: float = 0.0

    @property
    def text(self) -> str:
        """The best alternative's text, or nothing."""
        return self.alternatives[0].text if self.alternatives else ""

    @property
    def words(self) -> tuple[Word, ...]:
        """The best alternative's words."""
        return self.alternatives[0].words if self.alternatives else ()


@dataclass(frozen=True, slots=True)
class SpeechEvent:
    """Speech begins or ends, `at_s` seconds from the start."""

    kind: Literal["started", "ended"]
    at_s: float


@dataclass(frozen=True, slots=True)
class StreamStarted:
    """The model that was chosen, and the options that it cannot do, by field name, with the reason."""

    model: str
    model_version: int
    language: str
    ignored: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SpeechUpdate:
    """What is new. `started` is set once, in the first update; `processed_s`: how much audio the server has taken."""

    results: tuple[RecognitionResult, ...] = ()
    events: tuple[SpeechEvent, ...] = ()
    processed_s: float = 0.0
    started: StreamStarted | None = None

    @property
    def finals(self) -> tuple[RecognitionResult, ...]:
        """The results that stay as they are."""
        return tuple(result for result in self.results if result.is_final)

    @property
    def interim(self) -> str:
        """The text of the results that may still change, or nothing."""
        return " ".join(result.text for result in self.results if not result.is_final and result.text)


@dataclass(frozen=True, slots=True)
class Transcript:
    """A recording's final results, in order."""

    results: tuple[RecognitionResult, ...]
    duration_s: float
    started: StreamStarted | None = None

    @property
    def text(self) -> str:
        """All that was said, in one line."""
        return " ".join(result.text for result in self.results if result.text)

    @property
    def words(self) -> tuple[Word, ...]:
        """All words with their times, where they were asked for."""
        return tuple(word for result in self.results for word in result.words)


def result_from(result: pb.RecognitionResult) -> RecognitionResult:
    """Return a result of the wire as a plain value."""
    return RecognitionResult(
        alternatives=tuple(_alternative_from(alternative) for alternative in result.alternatives),
        is_final=result.is_final,
        start_s=result.start_ms / 1000,
        end_s=result.end_ms / 1000,
        utterance=result.utterance,
        stability=_share(result.stability),
    )


def events_from(events: Iterable[pb.SpeechEvent]) -> tuple[SpeechEvent, ...]:
    """Return events of the wire as plain values; kinds that this client does not know are left out."""
    kinds: dict[int, Literal["started", "ended"]] = {
        pb.SpeechEvent.SPEECH_STARTED: "started",
        pb.SpeechEvent.SPEECH_ENDED: "ended",
    }
    return tuple(SpeechEvent(kinds[event.kind], event.at_ms / 1000) for event in events if event.kind in kinds)


def started_from(started: pb.StreamStarted) -> StreamStarted:
    """Return a stream's first response as a plain value."""
    return StreamStarted(started.model, started.model_version, started.language, dict(started.ignored))


def _alternative_from(alternative: pb.Alternative) -> Alternative:
    words = tuple(
        Word(word.word, word.start_ms / 1000, word.end_ms / 1000, _share(word.confidence)) for word in alternative.words
    )
    return Alternative(alternative.transcript, _share(alternative.confidence), words)


def _share(value: float) -> float:
    """Return a share without the digits that 32 bits on the wire have added to it."""
    return round(value, 6)
