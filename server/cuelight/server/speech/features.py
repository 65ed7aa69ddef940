"""Log-mel features as Kaldi computes them, and the windows of samples that they are computed from.

A frame's window is 25 ms of samples, one every 10 ms, centred: frame i covers [160 i - 120, 160 i + 280) at 16 kHz.
`FrameWindows` belongs to one stream and keeps the samples; `FilterBank` belongs to a model and turns windows of any
streams into features at once. Source: kaldi-native-fbank, feature-window.cc, feature-fbank.cc, mel-computations.cc,
with the settings of sherpa-onnx: snip_edges false, Povey window, DC removed, no dither; for NeMo's models Hann window,
DC kept, Slaney's mels.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cuelight.server.speech.audio.source import AnySamples

__all__ = ["FilterBank", "FrameWindows"]

_WINDOW_S: Final = 0.025
_SHIFT_S: Final = 0.010
_PRE_EMPHASIS: Final = 0.97
_POVEY_POWER: Final = 0.85
_FLOOR: Final = np.finfo(np.float32).eps
"""Of the energies, so that silence has a logarithm."""

_BLOCK_FRAMES: Final = 48
"""So many windows with their spectra stay in the second cache, and their products below 2^18 multiplications: above,
OpenBLAS shares them out to threads that spin, which costs ten times what it saves."""

_BANDS: Final = 4
"""The mel filters are narrow: each quarter of them looks at its own part of the spectrum."""

_SLANEY_HZ: Final = 200 / 3
_SLANEY_KNEE_HZ: Final = 1000.0
_SLANEY_KNEE: Final = _SLANEY_KNEE_HZ / _SLANEY_HZ
_SLANEY_LOG_STEP: Final = np.log(6.4) / 27
"""Slaney's mel scale: straight up to 1 kHz, then 27 mels for each factor of 6.4. Source: Auditory Toolbox, 1998."""

_Array = NDArray[np.float32]
_FLOAT32: Final = np.dtype(np.float32)


class FilterBank:
    """Computes log-mel features. Not for two threads at once: its scratch memory is its own."""

    def __init__(
        self,
        sample_rate_hz: int = 16_000,
        mels: int = 80,
        low_hz: float = 20,
        high_hz: float = -400,
        *,
        nemo: bool = False,
    ) -> None:
        """`high_hz` of 0 or below counts from half of the sample rate. `nemo`: as NeMo computes them, 0 Hz to half."""
        self.window_samples = round(_WINDOW_S * sample_rate_hz)
        self.shift_samples = round(_SHIFT_S * sample_rate_hz)
        self.mels = mels
        fft_size = 1 << (self.window_samples - 1).bit_length()
        top_hz = high_hz if high_hz > 0 else sample_rate_hz / 2 + high_hz
        if nemo:
            filters = _slaney_filters(fft_size, sample_rate_hz, mels)
        else:
            filters = _mel_filters(fft_size, sample_rate_hz, mels, low_hz, top_hz)
        self._bands = _bands(filters)
        self._mean = np.float32(0 if nemo else (1 - _PRE_EMPHASIS) / self.window_samples)
        self._window = (_hann_window if nemo else _povey_window)(self.window_samples)
        self._framed = np.zeros((_BLOCK_FRAMES, fft_size), np.float32)
        """What is behind the window stays zero."""
        self._spectrum = np.empty((_BLOCK_FRAMES, fft_size // 2 + 1), np.complex64)

    def log_mel(self, windows: _Array) -> _Array:
        """Return (n, mels) float32 of windows (n, window_samples) float32, full scale 1; the windows may overlap."""
        return self.of_audio(windows, 1)[:, 0]

    def of_audio(self, audio: _Array, frames: int) -> _Array:
        """Return the first `frames` frames (rows, frames, mels) of audio (rows, samples) float32, full scale 1.

        A frame begins at the first sample, and the others each a shift behind the one before.
        """
        features = np.empty((audio.shape[0], frames, self.mels), np.float32)
        some_frames = min(frames, _BLOCK_FRAMES)
        some_rows = _BLOCK_FRAMES // some_frames
        for row in range(0, audio.shape[0], some_rows):
            rows = slice(row, row + some_rows)
            for frame in range(0, frames, some_frames):
                begin = frame * self.shift_samples
                of_block = features[rows, frame : frame + some_frames]
                of_block[...] = self._block(audio[rows, begin:], of_block.shape[1])
        np.maximum(features, _FLOOR, out=features)
        return np.log(features, out=features)

    def _block(self, audio: _Array, frames: int) -> _Array:
        """Return energies (rows, frames, mels) of so few frames that all of it stays in the second cache."""
        count = audio.shape[0] * frames
        framed, spectrum = self._framed[:count], self._spectrum[:count]
        self._frame(audio, framed.reshape(audio.shape[0], frames, -1))
        np.fft.rfft(framed, axis=1, out=spectrum)  # type: ignore[arg-type,unused-ignore]
        parts = spectrum.view(np.float32)
        np.square(parts, out=parts)
        energies = np.empty((count, self.mels), np.float32)
        for mels, bins, weights in self._bands:
            np.matmul(parts[:, bins], weights, out=energies[:, mels])
        return energies.reshape(audio.shape[0], frames, self.mels)

    def _frame(self, audio: _Array, framed: _Array) -> None:
        """Pre-emphasize, cut into frames, remove the mean and apply the window.

        x - m - 0.97 (x' - m) = x - 0.97 x' - 0.03 m. Both windows begin with zero, so a frame's first sample needs no
        predecessor of its own.
        """
        emphasized = np.empty_like(audio)
        np.multiply(audio[:, :-1], np.float32(-_PRE_EMPHASIS), out=emphasized[:, 1:])
        emphasized[:, 1:] += audio[:, 1:]
        emphasized[:, 0] = 0
        frames = framed[:, :, : self.window_samples]
        np.multiply(self._cut(emphasized, framed.shape[1]), self._window, out=frames)
        if self._mean:
            means = np.add.reduce(self._cut(audio, framed.shape[1]), axis=2, keepdims=True)
            frames -= means * (self._mean * self._window)

    def _cut(self, audio: _Array, frames: int) -> _Array:
        """Return a view (rows, frames, window_samples)."""
        row, sample = audio.strides
        shape = (audio.shape[0], frames, self.window_samples)
        return np.lib.stride_tricks.as_strided(audio, shape, (row, self.shift_samples * sample, sample))


class FrameWindows:
    """The samples of one stream that frames still need: less than a window, beside those of frames not dropped yet.

    They are kept as they come, int16 or float32, and moved as bytes alone: NumPy would let go of the interpreter's lock
    for each chunk of each stream. What was before the beginning is the first samples mirrored, as in Kaldi; they are
    put in front as soon as enough of them have come.
    """

    def __init__(self, window_samples: int = 400, shift_samples: int = 160) -> None:
        self.window_samples = window_samples
        self.shift_samples = shift_samples
        self._lead = (window_samples - shift_samples) // 2
        self._dtype: np.dtype[Any] = _FLOAT32
        self._sample_bytes = _FLOAT32.itemsize
        self._held = bytearray()
        self._frames_dropped = 0
        self._mirrored = False

    @classmethod
    def at(cls, frame_index: int, window_samples: int = 400, shift_samples: int = 160) -> "FrameWindows":
        """Go on at a frame: what is pushed begins with `first_sample_needed`."""
        windows = cls(window_samples, shift_samples)
        windows._frames_dropped = frame_index
        windows._mirrored = windows._first_sample >= 0
        return windows

    @property
    def frames_dropped(self) -> int:
        """The index of the first frame that has not been dropped."""
        return self._frames_dropped

    @property
    def first_sample_needed(self) -> int:
        """The earliest of the stream's samples that frames from `frames_dropped` on need."""
        return max(0, self._first_sample)

    @property
    def ready(self) -> int:
        """How many frames have all their samples."""
        if not self._mirrored:
            return 0
        return max(0, (len(self._held) // self._sample_bytes - self.window_samples) // self.shift_samples + 1)

    def push(self, samples: AnySamples) -> None:
        """Take the next samples (n,), float32 of full scale 1 or int16; a stream is of one kind throughout."""
        if samples.dtype != self._dtype:
            assert not self._held, f"{samples.dtype} after {self._dtype}"
            self._dtype, self._sample_bytes = samples.dtype, samples.itemsize
        self._held += np.ascontiguousarray(samples).data
        if not self._mirrored and len(self._held) >= self._lead * self._sample_bytes:
            self._mirror_beginning()

    def push_silence(self, count: int) -> None:
        """Take so many samples of silence, of the stream's kind."""
        self.push(np.zeros(count, self._dtype))

    def finish(self) -> None:
        """Mirror the end, as Kaldi does when no samples come any more: then every 10 ms of the stream have a frame."""
        held = self._samples_held
        if not self._mirrored and held:
            self._mirror_beginning()
        held = self._samples_held
        total = self._first_sample + held
        frames = (total + self.shift_samples // 2) // self.shift_samples
        missing = (frames - 1) * self.shift_samples - self._lead + self.window_samples - total
        if missing > 0 and frames > self._frames_dropped and held:
            self.push(np.pad(self._copy(held), (0, missing), "symmetric")[held:])

    def peek(self, count: int) -> AnySamples:
        """Return the windows (count, window_samples) of the next frames; they share the samples they overlap in."""
        samples = self.span(count)
        step = samples.itemsize
        strides = (self.shift_samples * step, step)
        return np.lib.stride_tricks.as_strided(samples, (count, self.window_samples), strides)

    def span(self, count: int) -> AnySamples:
        """Return a copy of the samples that the next `count` frames cover, (n,)."""
        samples = self.window_samples + (count - 1) * self.shift_samples if count else 0
        assert samples <= self._samples_held, f"{count} frames of {self.ready}"
        return self._copy(samples)

    def drop(self, count: int) -> None:
        """Let go of the next `count` frames."""
        samples = count * self.shift_samples
        assert samples <= self._samples_held, f"{count} frames of {self.ready}"
        del self._held[: samples * self._sample_bytes]
        self._frames_dropped += count

    def take(self, count: int, shift: int | None = None) -> AnySamples:
        """Return what `peek` does, and drop `shift` frames, all of them unless it is given."""
        windows = self.peek(count)
        self.drop(count if shift is None else shift)
        return windows

    @property
    def _samples_held(self) -> int:
        return len(self._held) // self._sample_bytes

    @property
    def _first_sample(self) -> int:
        """Of the first frame not dropped; below 0 where it is a mirrored one."""
        return self._frames_dropped * self.shift_samples - self._lead

    def _copy(self, count: int) -> AnySamples:
        return np.frombuffer(self._held[: count * self._sample_bytes], self._dtype)

    def _mirror_beginning(self) -> None:
        mirrored = np.pad(self._copy(self._lead), (self._lead, 0), "symmetric")
        self._mirrored = True
        self._held[:0] = mirrored[: self._lead].tobytes()


def _povey_window(samples: int) -> _Array:
    phase = 2 * np.pi * np.arange(samples) / (samples - 1)
    return ((0.5 - 0.5 * np.cos(phase)) ** _POVEY_POWER).astype(np.float32)


def _hann_window(samples: int) -> _Array:
    """Return one period, as PyTorch does: it ends before it is zero again."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(samples) / samples)).astype(np.float32)


def _mel_filters(fft_size: int, sample_rate_hz: int, mels: int, low_hz: float, high_hz: float) -> _Array:
    """Return the triangles (fft_size / 2 + 1, mels); they are triangles on the mel scale."""
    edges = np.linspace(_mel(np.float64(low_hz)), _mel(np.float64(high_hz)), mels + 2)
    bins = _mel(np.arange(fft_size // 2 + 1) * sample_rate_hz / fft_size)[:, np.newaxis]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def _slaney_filters(fft_size: int, sample_rate_hz: int, mels: int) -> _Array:
    """Return triangles (fft_size / 2 + 1, mels) of equal area, triangles in Hz; Source: librosa, filters.mel."""
    mel_edges = np.linspace(0, _slaney_mel(sample_rate_hz / 2), mels + 2)
    above = _SLANEY_KNEE_HZ * np.exp((mel_edges - _SLANEY_KNEE) * _SLANEY_LOG_STEP)
    edges = np.where(mel_edges < _SLANEY_KNEE, mel_edges * _SLANEY_HZ, above)
    bins = (np.arange(fft_size // 2 + 1) * sample_rate_hz / fft_size)[:, np.newaxis]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    areas = 2.0 / (edges[2:] - edges[:-2])
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) * areas, np.float32)


def _slaney_mel(hz: float) -> float:
    above = _SLANEY_KNEE + np.log(max(hz, _SLANEY_KNEE_HZ) / _SLANEY_KNEE_HZ) / _SLANEY_LOG_STEP
    return float(hz / _SLANEY_HZ if hz < _SLANEY_KNEE_HZ else above)


def _mel(hz: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    return np.asarray(1127.0 * np.log(1.0 + hz / 700.0), np.float64)


def _bands(filters: _Array) -> list[tuple[slice, slice, _Array]]:
    """Cut the filters into bands: which mels, from which floats of the spectrum, by which weights.

    The spectrum is floats, real and imaginary by turns; both squares have the bin's weight, so that the product adds
    them up, too.
    """
    bands = []
    for mels in np.array_split(np.arange(filters.shape[1]), _BANDS):
        own = filters[:, mels[0] : mels[-1] + 1]
        bins = np.flatnonzero(own.any(axis=1))
        low, high = (int(bins[0]), int(bins[-1]) + 1) if bins.size else (0, 1)
        weights = np.ascontiguousarray(np.repeat(own[low:high], 2, axis=0))
        bands.append((slice(int(mels[0]), int(mels[-1]) + 1), slice(2 * low, 2 * high), weights))
    return bands
