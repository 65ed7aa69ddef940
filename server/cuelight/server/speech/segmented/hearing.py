"""What the convolutions made of a window of audio that grows: each part of it is convolved once.

The encoder normalizes over the whole window, but what comes before that is linear and local, so that the features of a
window hold for every longer one that begins where it does; the normalization itself needs a mean and a deviation, and
these need sums. A `Hearing` belongs to one window and is used on the engine's thread alone.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["FRAME_SAMPLES", "MIN_NEW_SAMPLES", "STRIDE_SAMPLES", "Hearing"]

Array = NDArray[np.float32]

FRAME_SAMPLES = 64
"""From one frame of the first convolution to the next."""
STRIDE_SAMPLES = 192
"""From one feature to the next: three frames."""
_FRAME_REACH_SAMPLES = 127
MIN_NEW_SAMPLES = 511
"""What one feature reaches over: seven frames."""
_FRAMES_A_FEATURE = STRIDE_SAMPLES // FRAME_SAMPLES
_CHANNELS, _FEATURE_WIDTH = 288, 576
_EPSILON = 1e-5


class Hearing:
    """The features (1, 576, n) of a window so far, and the sums (2, frames) of what they will be normalized by."""

    def __init__(self) -> None:
        self._features = np.zeros((1, _FEATURE_WIDTH, 0), np.float32)
        self._sums = np.zeros((2, 0), np.float32)

    @property
    def next_sample(self) -> int:
        """The sample of the window from which on it has to be convolved."""
        return self._features.shape[2] * STRIDE_SAMPLES

    def extend(self, features: Array, sums: Array) -> None:
        """Take what the front end made of the audio from `next_sample` on."""
        frames = self._features.shape[2] * _FRAMES_A_FEATURE
        self._sums = np.concatenate([self._sums[:, :frames], sums], axis=1)
        self._features = np.concatenate([self._features, features], axis=2)

    def of_window(self, length: int) -> dict[str, Array]:
        """Return what the encoder takes for the first `length` samples."""
        frames = max(0, length - _FRAME_REACH_SAMPLES) // FRAME_SAMPLES + 1
        features = max(0, length - MIN_NEW_SAMPLES) // STRIDE_SAMPLES + 1
        sums = self._sums[:, :frames].sum(axis=1, dtype=np.float64) / (_CHANNELS * self._sums[:, :frames].shape[1])
        deviation = np.sqrt(max(0.0, sums[1] - sums[0] ** 2) + _EPSILON)
        return {
            "features": np.ascontiguousarray(self._features[:, :, :features]),
            "mean": np.array([sums[0]], np.float32),
            "deviation": np.array([deviation], np.float32),
        }
