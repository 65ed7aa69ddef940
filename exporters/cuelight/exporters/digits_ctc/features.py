"""NeMo's log-mel filterbank for whole batches, as sherpa-onnx computes it: 80 bins, 25 ms every 10 ms at 16 kHz.

Periodic Hann window, pre-emphasis 0.97, no dither, the mean left in, Slaney's mel scale and filters of equal
area from 0 to 8,000 Hz, `snip_edges=false`, samples in [-1, 1]. sherpa-onnx 2.0.1 feeds these to streaming NeMo CTC
models, whatever front its other families have (measured with a model that answers with its input).
Source: kaldi-native-fbank 1.23 (`is_librosa`), against which a test compares it.
"""

import math

import torch
from torch import Tensor

__all__ = ["HOP_SAMPLES", "MEL_BINS", "SAMPLE_RATE_HZ", "frame_count", "log_mel", "mel_bank"]

SAMPLE_RATE_HZ = 16_000
MEL_BINS = 80
HOP_SAMPLES = 160

_WINDOW_SAMPLES = 400
_FFT = 512
_PREEMPHASIS = 0.97
_HIGH_HZ = 8_000.0
_KNEE_HZ, _KNEE_MEL = 1_000.0, 15.0
_LOG_STEP = math.log(6.4) / 27.0
_FLOOR = torch.finfo(torch.float32).eps


def frame_count(samples: int) -> int:
    """Return how many frames so many samples give, the last one included."""
    return (samples + HOP_SAMPLES // 2) // HOP_SAMPLES


def log_mel(audio: Tensor, bank: Tensor | None = None) -> Tensor:
    """Return (batch, frames, 80) of audio (batch, samples); `bank` ([batch,] fft/2, 80) replaces NeMo's."""
    frames = _frames(audio)
    before = torch.cat([frames[..., :1], frames[..., :-1]], -1)
    spectrum = torch.fft.rfft((frames - _PREEMPHASIS * before) * _hann(), n=_FFT)
    power = spectrum.real[..., :-1].square() + spectrum.imag[..., :-1].square()
    energy: Tensor = power @ (mel_bank() if bank is None else bank)
    return energy.clamp(min=_FLOOR).log()


def mel_bank(warp: float = 1.0, kept_hz: float = 4_000.0) -> Tensor:
    """Return the triangular filters (fft/2, 80).

    `warp` moves the filters as a longer or shorter vocal tract moves formants: times `warp` up to 80 % of `kept_hz`,
    from there in a straight line so that `kept_hz` itself stays.
    """
    edges_mel = torch.linspace(0.0, _mel(_HIGH_HZ), MEL_BINS + 2, dtype=torch.float64)
    edges = _warped(_hz(edges_mel), warp, kept_hz)
    bins = (torch.arange(_FFT // 2, dtype=torch.float64) * SAMPLE_RATE_HZ / _FFT)[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    up, down = (bins - left) / (centre - left), (right - bins) / (right - centre)
    return (torch.minimum(up, down).clamp(min=0.0) * 2.0 / (right - left)).float()


def _mel(hz: float) -> float:
    """Return Slaney's mel of a frequency of 1 kHz or more."""
    return _KNEE_MEL + math.log(hz / _KNEE_HZ) / _LOG_STEP


def _hz(mel: Tensor) -> Tensor:
    """Return the frequency: straight up to 1 kHz, exponential beyond."""
    return torch.where(mel < _KNEE_MEL, mel * _KNEE_HZ / _KNEE_MEL, _KNEE_HZ * torch.exp((mel - _KNEE_MEL) * _LOG_STEP))


def _warped(hz: Tensor, warp: float, kept_hz: float) -> Tensor:
    knee_hz = 0.8 * kept_hz
    beyond = knee_hz * warp + (hz - knee_hz) * (kept_hz - knee_hz * warp) / (kept_hz - knee_hz)
    return torch.where(hz < knee_hz, hz * warp, torch.where(hz < kept_hz, beyond, hz))


def _frames(audio: Tensor) -> Tensor:
    """Cut into (batch, frames, 400), frame t centred on sample 160 t + 80; both ends are mirrored."""
    count = frame_count(audio.shape[1])
    before = (_WINDOW_SAMPLES - HOP_SAMPLES) // 2
    after = max(0, (count - 1) * HOP_SAMPLES + _WINDOW_SAMPLES - before - audio.shape[1])
    ends = [audio[:, :before].flip(1), audio, audio[:, audio.shape[1] - after :].flip(1)]
    return torch.cat(ends, 1).unfold(1, _WINDOW_SAMPLES, HOP_SAMPLES)[:, :count]


def _hann() -> Tensor:
    angle = 2.0 * math.pi / _WINDOW_SAMPLES * torch.arange(_WINDOW_SAMPLES, dtype=torch.float64)
    return (0.5 - 0.5 * torch.cos(angle)).float()
