"""The Mackey-Glass series, a chaotic one, and the way in which forecasts of it are compared since 1990.

    dx/dt = 0.2 x(t - 17) / (1 + x(t - 17)^10) - 0.1 x(t),    x(0) = 1.2, x(t) = 0 for t < 0

solved by Runge-Kutta of order 4 with a step of 0.1 and taken at whole times. What is foreseen is x(t + 6): learned from
the 500 times t = 118 to 617, tested on the 500 after them.

Source of the equation: Mackey and Glass, Oscillation and chaos in physiological control systems, Science 197, 1977. Of
the protocol: Jang, ANFIS: adaptive-network-based fuzzy inference system, IEEE Trans. SMC 23, 1993, section VI.D.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["AHEAD", "Forecasts", "forecasts", "ndei", "series"]

DELAY = 17
AHEAD = 6
FIRST_TIME, COUNT = 118, 500

_STEPS_A_TIME = 10
_STEP = 1 / _STEPS_A_TIME
_START = 1.2


@dataclass(frozen=True, slots=True)
class Forecasts:
    """What was seen, (count, history) float32, oldest first, and what came 6 times later, (count,) float32."""

    seen: NDArray[np.float32]
    wanted: NDArray[np.float32]


def series(times: int) -> NDArray[np.float64]:
    """Return x(0), x(1), ... (times,)."""
    lag = DELAY * _STEPS_A_TIME
    x = np.zeros(lag + (times - 1) * _STEPS_A_TIME + 1)
    x[lag] = _START
    for now in range(lag, len(x) - 1):
        # At time 0 the past jumps from 0 to x(0): the step that ends there has seen none of it.
        past, next_past = x[now - lag], x[now - lag + 1] if now - lag + 1 != lag else 0.0
        # Half a step on, the past lies between two of its points.
        half_past = (past + next_past) / 2
        first = _slope(x[now], past)
        second = _slope(x[now] + _STEP / 2 * first, half_past)
        third = _slope(x[now] + _STEP / 2 * second, half_past)
        fourth = _slope(x[now] + _STEP * third, next_past)
        x[now + 1] = x[now] + _STEP / 6 * (first + 2 * second + 2 * third + fourth)
    return x[lag::_STEPS_A_TIME]


def forecasts(history: int) -> tuple[Forecasts, Forecasts]:
    """Return what is learned from and what is tested on, each seen for so many times."""
    x = series(FIRST_TIME + 2 * COUNT + AHEAD).astype(np.float32)
    times = np.arange(FIRST_TIME, FIRST_TIME + 2 * COUNT)
    seen = np.stack([x[time - history + 1 : time + 1] for time in times])
    wanted = x[times + AHEAD]
    return Forecasts(seen[:COUNT], wanted[:COUNT]), Forecasts(seen[COUNT:], wanted[COUNT:])


def ndei(got: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    """Return the error's root mean square over the deviation of what was wanted: 1 is foreseeing the mean."""
    error = got.astype(np.float64) - wanted.astype(np.float64)
    return float(np.sqrt(np.mean(error**2)) / wanted.astype(np.float64).std())


def _slope(x: float, past: float) -> float:
    slope: float = 0.2 * past / (1 + past**10) - 0.1 * x
    return slope
