"""From the source's rate to the model's, by soxr, and where to begin again after a break.

Both grids of samples meet every `rate / gcd(rates)` source samples. A resampler that begins at such a meeting gives the
samples that one running since the beginning gives, but for those near its beginning, where its filter sees zeros
instead of what was before. So a resumed stream begins early, and drops what comes of that.
"""

from math import ceil, gcd
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from cuelight.server.speech.audio.source import AnySamples

__all__ = ["PRE_ROLL_S", "Resampler", "resume_point"]

PRE_ROLL_S: Final = 0.05
"""Longer than half of soxr's filter at "HQ": nothing is left of the beginning after 20 ms (measured, 8 to 48 kHz)."""

_Samples = NDArray[np.float32]


class Resampler:
    """Resamples one stream of mono samples; gives them back as they are if the rates are equal."""

    def __init__(self, source_rate_hz: int, target_rate_hz: int) -> None:
        same = source_rate_hz == target_rate_hz
        self._stream = None if same else soxr.ResampleStream(source_rate_hz, target_rate_hz, 1, dtype="float32")

    def feed(self, samples: AnySamples) -> AnySamples:
        """Take samples (n,), return those (m,) that are ready, maybe none. They come in groups, up to 120 ms later."""
        if self._stream is None:
            return samples
        resampled: _Samples = self._stream.resample_chunk(np.ascontiguousarray(samples))
        return resampled

    def finish(self) -> _Samples:
        """Return the samples held back. Nothing may be fed afterwards."""
        nothing = np.empty(0, np.float32)
        if self._stream is None:
            return nothing
        resampled: _Samples = self._stream.resample_chunk(nothing, last=True)
        return resampled


def resume_point(model_sample: int, source_rate_hz: int, target_rate_hz: int) -> tuple[int, int]:
    """Return the source sample to send from, and how many samples to drop after resampling, to go on at `model_sample`.

    `model_sample` counts at the target rate. The samples equal those of an undisturbed stream within 1e-5.
    """
    if source_rate_hz == target_rate_hz:
        return model_sample, 0
    common = gcd(source_rate_hz, target_rate_hz)
    source_period, target_period = source_rate_hz // common, target_rate_hz // common
    pre_roll_periods = ceil(PRE_ROLL_S * source_rate_hz / source_period)
    periods = max(0, model_sample // target_period - pre_roll_periods)
    return periods * source_period, model_sample - periods * target_period
