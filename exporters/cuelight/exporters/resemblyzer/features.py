"""Audio to the mel frames that the speaker encoder was trained on, and the vectors of its windows to that of a speaker.

Mel energies, not their logarithms. Quiet recordings are made as loud as those it was trained on; unlike the original,
pauses stay in: cut them out where there are long ones (`silero_vad` finds them).

Source: Resemblyzer 0.1.4, audio.py, hparams.py and voice_encoder.py (Apache-2.0). Of the filters, which it has from
librosa: Slaney, Auditory Toolbox, 1998.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["MELS", "SAMPLE_RATE_HZ", "WINDOW_FRAMES", "loud_enough", "mel_bank", "mel_frames", "of_speaker", "windows"]

SAMPLE_RATE_HZ = 16_000
MELS = 40
WINDOW_FRAMES = 160
"""1.6 s."""
HOP_SAMPLES = 160

_FRAME_SAMPLES = 400
_LEAST_LOUD_DB = -30.0
_STEP_FRAMES = 77
"""How far windows are apart: 1.3 a second."""
_LEAST_COVERAGE = 0.75
"""The last window counts if so much of it is audio."""
_LINEAR_HZ, _LINEAR_HZ_A_MEL, _STEPS_TO_6400_HZ = 1000.0, 200 / 3, 27
"""Slaney's scale: a line up to 1000 Hz, then 27 steps for each factor of 6.4."""


def windows(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return windows (count, 160, 40) of audio (samples,) at 16 kHz: one at least, padded with silence.

    Raises: ValueError when there is no audio.
    """
    if not len(audio):
        raise ValueError("audio: expected at least one sample, got none")
    frames = -(-(len(audio) + 1) // HOP_SAMPLES)
    starts = list(range(0, max(1, frames - WINDOW_FRAMES + _STEP_FRAMES + 1), _STEP_FRAMES))
    covered = len(audio) / HOP_SAMPLES - starts[-1]
    if len(starts) > 1 and covered < _LEAST_COVERAGE * WINDOW_FRAMES:
        starts.pop()
    padding = max(0, (starts[-1] + WINDOW_FRAMES) * HOP_SAMPLES - len(audio))
    mels = mel_frames(np.pad(loud_enough(audio), (0, padding)))
    return np.stack([mels[start : start + WINDOW_FRAMES] for start in starts])


def of_speaker(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the speaker's vector (256,) of length 1 out of those of the windows (count, 256)."""
    mean = embeddings.mean(0)
    speaker: NDArray[np.float32] = mean / np.linalg.norm(mean)
    return speaker


def loud_enough(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the audio, raised to -30 dB of full scale if it is quieter; silence stays silence."""
    rms = float(np.sqrt(np.mean(audio.astype(np.float64) ** 2)))
    wanted = 10 ** (_LEAST_LOUD_DB / 20)
    return audio * np.float32(wanted / rms) if 0 < rms < wanted else audio


def mel_frames(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return mel energies (samples // 160 + 1, 40); frames are centred on every 160th sample."""
    padded = np.pad(audio, _FRAME_SAMPLES // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME_SAMPLES)[::HOP_SAMPLES]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FRAME_SAMPLES) / _FRAME_SAMPLES)
    energies = np.abs(np.fft.rfft(frames * window)) ** 2
    return (energies @ mel_bank()).astype(np.float32)


def mel_bank() -> NDArray[np.float64]:
    """Return the triangular filters (201 bins, 40), each of area 1 over hertz."""
    edges = _hz(np.linspace(0, _mel(SAMPLE_RATE_HZ / 2), MELS + 2))
    hz = np.fft.rfftfreq(_FRAME_SAMPLES, 1 / SAMPLE_RATE_HZ)[:, np.newaxis]
    rising = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    bank: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])
    return bank


def _mel(hz: float) -> float:
    if hz < _LINEAR_HZ:
        return hz / _LINEAR_HZ_A_MEL
    return _LINEAR_HZ / _LINEAR_HZ_A_MEL + float(np.log(hz / _LINEAR_HZ)) / _log_step()


def _hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    above = mels - _LINEAR_HZ / _LINEAR_HZ_A_MEL
    return np.where(above < 0, mels * _LINEAR_HZ_A_MEL, _LINEAR_HZ * np.exp(np.maximum(above, 0) * _log_step()))


def _log_step() -> float:
    return float(np.log(6.4)) / _STEPS_TO_6400_HZ
