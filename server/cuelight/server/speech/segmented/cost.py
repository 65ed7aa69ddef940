"""What one voice among many costs, measured when the model is loaded: by its parts, at the widest pace."""

import time

import numpy as np

from cuelight.server.speech.segmented.hearing import Hearing
from cuelight.server.speech.segmented.moonshine import START, MoonshineModel
from cuelight.server.speech.segmented.pace import BUSY_SHARE, LONGEST_S
from cuelight.server.speech.segmented.rows import Rows

__all__ = ["voice_cost"]

_RATE_HZ = 16_000
_WINDOW_S = 6.0
"""Of somebody who reads aloud: the windows of a dialogue are shorter."""
_TOKENS_PER_S = 4.0
_COMPANY = 8
"""Windows that are stepped together where many speak."""
_AROUND_S = 0.012
"""Voice detector, transport and event loop, a second of audio."""
_TOKEN = 100


def voice_cost(model: MoonshineModel) -> float:
    """Return the CPU seconds that a second of speech takes where many speak. Takes about half a second itself.

    A window is decoded every `LONGEST_S`, and once more at its end, by engines that work for `BUSY_SHARE` of the time:
    beyond it text is late. Time is that of the calling thread, so a busy machine does not mislead it.
    """
    noise = np.random.default_rng(0).standard_normal(round(_WINDOW_S * _RATE_HZ)).astype(np.float32) * np.float32(0.05)
    draft = [START, *[_TOKEN] * round(_WINDOW_S * _TOKENS_PER_S)]
    cost_s = min(_decode_s(model, noise, draft) for _ in range(2))
    return (cost_s / LONGEST_S + cost_s / _WINDOW_S) / BUSY_SHARE + _AROUND_S


def _decode_s(model: MoonshineModel, window: np.ndarray, draft: list[int]) -> float:
    hearing = Hearing()
    model.encode(window[: -round(LONGEST_S * _RATE_HZ)], hearing)
    started_s = time.thread_time()
    row, _ = model.begin(model.encode(window, hearing), draft)
    begun_s = time.thread_time()
    rows = Rows.gathered([(row, [0])] * _COMPANY)
    stepped_from_s = time.thread_time()
    model.step(rows, [_TOKEN] * _COMPANY)
    step_s = (time.thread_time() - stepped_from_s) / _COMPANY
    return begun_s - started_s + step_s * _TOKENS_PER_S * LONGEST_S
