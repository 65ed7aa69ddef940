"""Voices from real recordings on a model of open speech: how far its text is behind, and what it costs.

How many are held depends on how much of the recordings is speech, so it is said of which ones. Interim text counts from
the end of the audio that it covers, final text from the end of its speech: the silence that ends it is in it.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import soxr

from benchmarks.paced import LEAVE_S, RAMP_S, WARM_S
from benchmarks.servers import RunningServer
from benchmarks.speech_model import SAMPLE_RATE_HZ
from benchmarks.speech_wire import SpeechWire
from benchmarks.voices import Voices

__all__ = ["Live", "framed_recordings", "live"]

MESSAGE_SAMPLES = SAMPLE_RATE_HZ // 10
HELD_BEHIND_S = 1.0


@dataclass(frozen=True, slots=True)
class Live:
    """What so many voices got: how far text was behind, in seconds; CPU time for a second of audio of a voice let in.

    `ended` are the voices that were refused, or ended later. `interval_s` is the time between two answers of a voice.
    """

    voices: int
    held: bool
    behind_p50_s: float
    behind_p99_s: float
    final_behind_p50_s: float
    final_behind_p99_s: float
    interval_s: float
    answers: int
    cpu_ms_per_s: float
    ended: int


def framed_recordings(files: Sequence[Path]) -> list[bytes]:
    """Return recordings, one after the other, in messages of 100 ms."""
    parts = []
    for file in files:
        samples, rate_hz = soundfile.read(file, dtype="float32", always_2d=True)
        parts.append(soxr.resample(samples.mean(axis=1), rate_hz, SAMPLE_RATE_HZ))
    audio = (np.clip(np.concatenate(parts), -1, 1) * 32767).astype(np.int16)
    whole = audio[: len(audio) // MESSAGE_SAMPLES * MESSAGE_SAMPLES].reshape(-1, MESSAGE_SAMPLES)
    return [SpeechWire.framed(message) for message in whole]


def live(server: RunningServer, model: str, messages: Sequence[bytes], count: int, seconds: float) -> Live:
    """Let `count` voices speak for `seconds` after a warm-up, each from a place of its own in the recordings."""
    wire = partial(SpeechWire, model)
    with Voices(server.port, wire, messages, MESSAGE_SAMPLES, count, numbered=False) as voices:
        voices.start(RAMP_S)
        voices.speak(RAMP_S + WARM_S + LEAVE_S)
        before_s = server.cpu_s()
        voices.speak(seconds)
        cpu_s, ended = server.cpu_s() - before_s, len(voices.ended())
        interim, final = voices.behind_s(), voices.final_behind_s()
    cuts, final_cuts, answers = _cuts(interim), _cuts(final), len(interim) + len(final)
    spoken_s = max(1, count - ended) * seconds
    held = not ended and cuts[1] < HELD_BEHIND_S
    cost_ms = cpu_s / spoken_s * 1000
    return Live(count, held, *cuts, *final_cuts, spoken_s / max(1, answers), answers, cost_ms, ended)


def _cuts(values_s: list[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile."""
    cuts = statistics.quantiles(values_s, n=100) if len(values_s) > 1 else [float("nan")] * 99
    return cuts[49], cuts[98]
