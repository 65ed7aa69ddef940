"""Features for a whole batch at once, on a thread of the engine: audio in, the model's own input out."""

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cuelight.server.speech.features import FilterBank
from cuelight.server.speech.streaming_facts import StreamingFacts

__all__ = ["AUDIO_GROUP", "AudioFront"]

AUDIO_GROUP = "audio"
"""The group of steps that bring audio where the model takes features."""

_WINDOW_SAMPLES = 400
_SHIFT_SAMPLES = 160
"""25 and 10 ms at 16 kHz."""


class AudioFront:
    """Fills the audio input of a streaming model; see `Front`."""

    def __init__(self, facts: StreamingFacts) -> None:
        self.input = facts.audio_input
        self._facts = facts
        self._scratch = _Scratch(facts)

    def fill(self, rows: Sequence[NDArray[np.float32]], target: NDArray[np.float32]) -> None:
        """Write features of `rows`, each (1, samples) of a window's audio, into `target`."""
        samples = np.concatenate(rows)
        if self._facts.sample_scale != 1:
            samples *= np.float32(self._facts.sample_scale)
        count, frames = len(rows), self._facts.window_frames
        step = samples.strides[1]
        windows = np.lib.stride_tricks.as_strided(
            samples, (count, frames, _WINDOW_SAMPLES), (samples.strides[0], _SHIFT_SAMPLES * step, step)
        ).reshape(-1, _WINDOW_SAMPLES)
        features = self._scratch.bank.log_mel(windows).reshape(count, frames, -1)
        target[...] = features.transpose(0, 2, 1) if self._facts.layout == "BFT" else features


class _Scratch(threading.local):
    """Each thread's own filter bank."""

    def __init__(self, facts: StreamingFacts) -> None:
        self.bank = FilterBank(facts.sample_rate_hz, facts.feature_dim, nemo=facts.features == "nemo")
