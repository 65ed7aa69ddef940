"""When does this music beat? Beats and downbeats as they are heard.

The model gives the probabilities of beat and downbeat for every 20 ms; `BeatPicker` turns them into beats: a frame
counts where their sum is high enough and higher than around it. The rule is pure, so a stream and a file go through
the same one.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Items
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cuelight.client.audio import Samples, described, samples_for
from cuelight.client.inference import InferenceClient
from cuelight.client.sequence import ResumePolicy, Sequence

__all__ = ["Beat", "BeatPicker", "BeatRules", "beat_probabilities", "detect_beats"]


@dataclass(frozen=True, slots=True)
class Beat:
    """One beat: its time in seconds from the start, whether it is a bar's first, and how sure the model is."""

    time_s: float
    is_downbeat: bool
    probability: float


@dataclass(frozen=True, slots=True)
class BeatRules:
    """When a frame is a beat: its probability is at least `threshold`, and the highest within `around_s` either way.

    Two beats are at least `min_interval_s` apart; the default allows 240 beats a minute. What the model says in its
    first `warm_up_s`, before it has heard anything to compare with, does not count.
    """

    threshold: float = 0.4
    around_s: float = 0.06
    min_interval_s: float = 0.25
    warm_up_s: float = 0.1


class BeatPicker:
    """Probabilities in, beats out, each `around_s` after it was heard. Times are counted in frames of `frame_s`."""

    def __init__(self, frame_s: float, rules: BeatRules | None = None) -> None:
        self._frame_s = frame_s
        self._rules = rules if rules is not None else BeatRules()
        self._around = max(1, round(self._rules.around_s / frame_s))
        self._window: deque[tuple[float, float]] = deque([(0.0, 0.0)] * self._around, 2 * self._around + 1)
        self._frames = 0
        self._last_s = self._rules.warm_up_s - self._rules.min_interval_s

    def push(self, beat: float, downbeat: float) -> list[Beat]:
        """Take the probabilities of the next frame and return the beat that is now certain, if there is one."""
        self._window.append((beat, downbeat))
        self._frames += 1
        if len(self._window) < 2 * self._around + 1:
            return []
        sums = [first + second for first, second in self._window]
        middle = self._around
        time_s = (self._frames - 1 - self._around) * self._frame_s
        highest = sums[middle] > max(sums[:middle]) and sums[middle] >= max(sums[middle + 1 :])
        if not highest or sums[middle] < self._rules.threshold or time_s - self._last_s < self._rules.min_interval_s:
            return []
        self._last_s = time_s
        beat, downbeat = self._window[middle]
        return [Beat(time_s, downbeat > beat, min(sums[middle], 1.0))]

    def finish(self) -> list[Beat]:
        """Return the beats of the last frames."""
        return [found for _ in range(self._around) for found in self.push(0.0, 0.0)]


def detect_beats(
    clients: InferenceClient | Items[InferenceClient],
    audio: Samples | str | Path,
    *,
    model: str = "beatnet",
    rules: BeatRules | None = None,
) -> list[Beat]:
    """Return the beats of a WAV file, or of samples (n,) float32 in [-1, 1] at the model's rate.

    Raises: InvalidRequest for audio of another rate or format; otherwise as `Sequence.run`.
    """
    description = described(clients, model)
    samples, rate_hz, chunk = samples_for(description, audio)
    delay = int(description.get("delay_steps", "0"))
    silence = np.zeros((delay + 1) * chunk, np.float32)
    whole = np.concatenate([samples, silence])
    chunks = (whole[start : start + chunk] for start in range(0, len(whole) - chunk + 1, chunk))
    picker = BeatPicker(chunk / rate_hz, rules)
    beats: list[Beat] = []
    for beat, downbeat in beat_probabilities(clients, chunks, model=model, delay_steps=delay):
        beats += picker.push(beat, downbeat)
    return beats + picker.finish()


def beat_probabilities(
    clients: InferenceClient | Items[InferenceClient],
    chunks: Iterable[Samples],
    *,
    model: str = "beatnet",
    delay_steps: int = 1,
    policy: ResumePolicy | None = None,
) -> Iterator[tuple[float, float]]:
    """Yield the probabilities of beat and downbeat of each frame, `delay_steps` chunks after the audio came.

    The server holds the model's state. With several `clients` the stream goes on at the next server when one dies; see
    `Sequence`.
    """
    sequence = Sequence(clients, model, policy=policy)
    for number, outputs in enumerate(sequence.run({"audio": chunk[np.newaxis]} for chunk in chunks)):
        if number >= delay_steps:
            beat, downbeat, _ = outputs["probabilities"][0]
            yield float(beat), float(downbeat)
