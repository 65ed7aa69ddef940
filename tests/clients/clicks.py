"""Click tracks: music whose beats are known."""

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 22_050


def click_track(beats_per_minute: float, clicks: int = 20) -> tuple[NDArray[np.float32], list[float]]:
    """Return samples with a click of 20 ms on every beat, every fourth one higher, and the beats' times in seconds."""
    times_s = [0.5 + index * 60 / beats_per_minute for index in range(clicks)]
    samples = np.zeros(round(RATE_HZ * (times_s[-1] + 1)), np.float32)
    length = RATE_HZ // 50
    instants = np.arange(length)
    for index, time_s in enumerate(times_s):
        pitch_hz = 1_500 if index % 4 == 0 else 1_000
        click = 0.8 * np.sin(2 * np.pi * pitch_hz * instants / RATE_HZ) * np.exp(-5 * instants / length)
        start = round(time_s * RATE_HZ)
        samples[start : start + length] += click.astype(np.float32)
    return samples, times_s
