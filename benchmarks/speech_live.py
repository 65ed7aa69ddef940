"""Voices from real recordings on a model of open speech: how far its text is behind, and what it costs.

How many are held depends on how much of the recordings is speech, so it is said of which ones. Interim text counts from
the end of the audio that it covers.
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
    """What so many voices got: how far text was behind, in seconds; CPU time for a second of audio sent."""

    voices: int
    held: bool
    behind_p50_s: float
    behind_p95_s: float
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
        cpu_s, behind_s, ended = server.cpu_s() - before_s, voices.behind_s(), len(voices.ended())
    cuts = statistics.quantiles(behind_s, n=20) if len(behind_s) > 1 else [float("nan")] * 19
    held = not ended and cuts[18] < HELD_BEHIND_S
    return Live(count, held, cuts[9], cuts[18], len(behind_s), cpu_s / (count * seconds) * 1000, ended)
