"""Where in a recording somebody speaks.

The model gives a probability for every 32 ms; `SpeechSegmenter` turns them into segments by the rules that Silero
publishes for it: a threshold to start, a lower one to end, and shortest lengths for both. The rules are pure, so a
stream and a file go through the same ones. Source: silero-vad 6.2, `get_speech_timestamps`.
"""

from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Items
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cuelight.client.audio import Samples, described, samples_for
from cuelight.client.inference import InferenceClient
from cuelight.client.sequence import ResumePolicy, Sequence

__all__ = ["SegmentRules", "SpeechSegment", "SpeechSegmenter", "detect_speech", "speech_probabilities"]


@dataclass(frozen=True, slots=True)
class SpeechSegment:
    """A stretch of speech, in seconds from the start, with the highest probability in it."""

    start_s: float
    end_s: float
    max_probability: float


@dataclass(frozen=True, slots=True)
class SegmentRules:
    """When speech starts and ends. Probabilities 0 to 1, durations in seconds.

    Speech starts at `threshold` and ends when the probability stays below `end_threshold` for `min_silence_s`; what is
    shorter than `min_speech_s` is dropped; each end is widened by `pad_s`, at most to the middle of a short pause.
    """

    threshold: float = 0.5
    end_threshold: float = 0.35
    min_speech_s: float = 0.25
    min_silence_s: float = 0.1
    pad_s: float = 0.03


class SpeechSegmenter:
    """Probabilities in, segments out, each as soon as it is certain. Times are counted in steps of `step_s`."""

    def __init__(self, step_s: float, rules: SegmentRules | None = None) -> None:
        self._step_s = step_s
        self._rules = rules if rules is not None else SegmentRules()
        self._steps = 0
        self._start_s: float | None = None
        self._silence_s: float | None = None
        self._highest = 0.0
        self._pending: SpeechSegment | None = None

    def push(self, probability: float) -> list[SpeechSegment]:
        """Take the probability of the next step and return the segments that are now certain."""
        now_s = self._steps * self._step_s
        self._steps += 1
        if probability >= self._rules.threshold:
            self._silence_s = None
            if self._start_s is None:
                self._start_s, self._highest = now_s, 0.0
        if self._start_s is None:
            return self._flush_before(now_s)
        self._highest = max(self._highest, probability)
        if probability < self._rules.end_threshold:
            if self._silence_s is None:
                self._silence_s = now_s
            if now_s - self._silence_s >= self._rules.min_silence_s:
                return self._end(self._silence_s)
        return []

    def finish(self, duration_s: float | None = None) -> list[SpeechSegment]:
        """Return the last segments; `duration_s` is the length of the audio, by default that of the steps."""
        duration_s = self._steps * self._step_s if duration_s is None else duration_s
        done = self._end(duration_s) if self._start_s is not None else []
        if self._pending is not None:
            last, self._pending = self._pending, None
            end_s = min(last.end_s + self._rules.pad_s, duration_s)
            done.append(SpeechSegment(last.start_s, end_s, last.max_probability))
        return done

    def _end(self, end_s: float) -> list[SpeechSegment]:
        start_s, self._start_s, self._silence_s = self._start_s, None, None
        assert start_s is not None
        if end_s - start_s <= self._rules.min_speech_s:
            return []
        return self._follow(SpeechSegment(start_s, end_s, self._highest))

    def _follow(self, segment: SpeechSegment) -> list[SpeechSegment]:
        """Keep `segment` until what follows is known; return the one before it, widened."""
        pad_s, before = self._rules.pad_s, self._pending
        if before is None:
            start_s = max(0.0, segment.start_s - pad_s)
            self._pending = SpeechSegment(start_s, segment.end_s, segment.max_probability)
            return []
        pause_s = segment.start_s - before.end_s
        share_s = pause_s / 2 if pause_s < 2 * pad_s else pad_s
        self._pending = SpeechSegment(segment.start_s - share_s, segment.end_s, segment.max_probability)
        return [SpeechSegment(before.start_s, before.end_s + share_s, before.max_probability)]

    def _flush_before(self, now_s: float) -> list[SpeechSegment]:
        """Return the kept segment once a pause is so long that nothing can narrow it any more."""
        if self._pending is None or now_s - self._pending.end_s < 2 * self._rules.pad_s + self._step_s:
            return []
        last, self._pending = self._pending, None
        return [SpeechSegment(last.start_s, last.end_s + self._rules.pad_s, last.max_probability)]


def detect_speech(
    clients: InferenceClient | Items[InferenceClient],
    audio: Samples | str | Path,
    *,
    model: str = "silero_vad",
    rules: SegmentRules | None = None,
) -> list[SpeechSegment]:
    """Return where somebody speaks in a WAV file, or in samples (n,) float32 in [-1, 1] at the model's rate.

    Raises: InvalidRequest for audio of another rate or format; otherwise as `Sequence.run`.
    """
    description = described(clients, model)
    samples, rate_hz, chunk = samples_for(description, audio)
    segmenter = SpeechSegmenter(chunk / rate_hz, rules)
    segments: list[SpeechSegment] = []
    for probability in speech_probabilities(clients, _chunks(samples, chunk), model=model):
        segments += segmenter.push(probability)
    return segments + segmenter.finish(len(samples) / rate_hz)


def speech_probabilities(
    clients: InferenceClient | Items[InferenceClient],
    chunks: Iterable[Samples],
    *,
    model: str = "silero_vad",
    policy: ResumePolicy | None = None,
) -> Iterator[float]:
    """Yield the probability of speech of each chunk, as the audio comes.

    The server holds the model's state. With several `clients` the stream goes on at the next server when one dies; see
    `Sequence`.
    """
    sequence = Sequence(clients, model, policy=policy)
    for outputs in sequence.run({"audio": chunk[np.newaxis]} for chunk in chunks):
        yield float(outputs["probability"].item())


def _chunks(samples: Samples, size: int) -> Iterator[Samples]:
    """Yield chunks of `size` samples, the last one filled up with zeros."""
    for start in range(0, len(samples), size):
        chunk = samples[start : start + size]
        yield chunk if len(chunk) == size else np.pad(chunk, (0, size - len(chunk)))
