"""Features for a whole batch at once, on a thread of the engine: audio in, the model's own input out."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.speech.audio import AnySamples
from cuelight.server.speech.features import FilterBank
from cuelight.server.speech.streaming_facts import StreamingFacts

__all__ = ["AUDIO_GROUP", "BEST", "PEAK", "AudioFront"]

AUDIO_GROUP = "audio"
"""The group of steps that bring audio where the model takes features."""

_INT16_SCALE = 32_768


BEST, PEAK = "cuelight best", "cuelight peak"
"""Outputs added for CTC models, (batch, frames): the likeliest token and its log-probability."""


class AudioFront:
    """Fills the audio input of a streaming model and looks over its output; see `Front`."""

    def __init__(self, facts: StreamingFacts) -> None:
        self.input = facts.audio_input
        self._facts = facts
        self._scratch = _Scratch(facts)

    def fill(self, rows: Sequence[AnySamples], target: NDArray[np.float32]) -> None:
        """Write features of `rows`, each (1, samples) of a window's audio, into `target`."""
        facts = self._facts
        features = self._scratch.bank.of_audio(_scaled(rows, facts.sample_scale), facts.window_frames)
        target[...] = features.transpose(0, 2, 1) if facts.layout == "BFT" else features

    def added(self, outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return what a greedy search needs of log-probabilities, found for the whole batch at once."""
        if self._facts.transducer:
            return {}
        log_probs = outputs[self._facts.output]
        return {BEST: log_probs.argmax(axis=2), PEAK: log_probs.max(axis=2)}


def _scaled(rows: Sequence[AnySamples], scale: int) -> NDArray[np.float32]:
    """Return (batch, samples) float32 with `scale` for full scale."""
    if all(row.dtype == np.int16 for row in rows):
        samples: NDArray[np.float32] = np.concatenate(rows).astype(np.float32)
        samples *= np.float32(scale / _INT16_SCALE)
        return samples
    whole = [row * np.float32(1 / _INT16_SCALE) if row.dtype == np.int16 else row for row in rows]
    samples = np.concatenate(whole)
    if scale != 1:
        samples *= np.float32(scale)
    return samples


class _Scratch(threading.local):
    """Each thread's own filter bank."""

    def __init__(self, facts: StreamingFacts) -> None:
        self.bank = FilterBank(facts.sample_rate_hz, facts.feature_dim, nemo=facts.features == "nemo")
