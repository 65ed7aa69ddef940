"""BeatNet: where are the beats and downbeats of this music? A small convolution and two LSTM layers that remember.

The module is rebuilt in PyTorch around the published weights, features included: one step takes 20 ms of audio (441
samples at 22,050 Hz) and gives the probabilities of beat, downbeat and neither for one frame. The frame's window needs
706 samples that come after its centre, so the answer to step i (from 0) is that of frame i - 1, whose centre lies at
(i - 1) * 20 ms; the answer to step 0 means nothing.

State, all with the batch first: the last 1,146 samples, the spectrum of the frame before, how many steps there were
(the first frame has no difference, and before it nothing may move the LSTM), and h and c of both layers.

Source of the network: BeatNet 1.1.3, model.py and log_spect.py (Heydari, Cwitkowitz, Duan: BeatNet, ISMIR 2021; CC BY
4.0). Source of the features: madmom 0.16.1, audio/filters.py and audio/spectrogram.py, with the parameters of BeatNet.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cuelight.exporters.spec import Check, ExportSpec, StatePair
from cuelight.exporters.weights import WheelFile

__all__ = ["SPEC", "BeatNet", "build", "example", "filterbank", "metadata"]

SAMPLE_RATE_HZ = 22_050
HOP_SAMPLES = 441
WINDOW_SAMPLES = 1_411
BINS = WINDOW_SAMPLES // 2
HISTORY_SAMPLES = 1_146
"""What the next frame still needs: its window starts 1,587 samples before the end of the audio, 441 of them new."""

WEIGHTS = WheelFile(
    requirement="BeatNet==1.1.3",
    path="BeatNet/models/model_1_weights.pt",
    sha256="619091bc317ca3e83b45591d46f6de3d5a41588bcb39fe9fe7be30cffa6aca84",
)

_BANDS_PER_OCTAVE = 24
_FMIN_HZ, _FMAX_HZ, _A4_HZ = 30.0, 17_000.0, 440.0
_BANDS = 136
_UNITS = 150
_LAYERS = 2
_KERNEL = 10
_NEVER_MORE_STEPS = 4.0
"""The count of steps stops here: only the first two are anything special."""


def filterbank() -> NDArray[np.float32]:
    """Return the triangular filters (705 bins, 136 bands), 24 an octave from 30 Hz up, each of sum 1."""
    # The frequencies as madmom counts them: those of a transform of twice as many points as there are bins.
    bin_hz = np.fft.fftfreq(BINS * 2, 1 / SAMPLE_RATE_HZ)[:BINS]
    left = np.floor(np.log2(_FMIN_HZ / _A4_HZ) * _BANDS_PER_OCTAVE)
    right = np.ceil(np.log2(_FMAX_HZ / _A4_HZ) * _BANDS_PER_OCTAVE)
    centers_hz = _A4_HZ * 2.0 ** (np.arange(left, right) / _BANDS_PER_OCTAVE)
    centers_hz = centers_hz[np.searchsorted(centers_hz, _FMIN_HZ) : np.searchsorted(centers_hz, _FMAX_HZ, "right")]
    upper = np.clip(bin_hz.searchsorted(centers_hz), 1, BINS - 1)
    nearest = upper - (centers_hz - bin_hz[upper - 1] < bin_hz[upper] - centers_hz)
    bins = np.unique(nearest)
    bands = np.zeros((BINS, len(bins) - 2))
    for band, (start, center, stop) in enumerate(zip(bins, bins[1:], bins[2:], strict=False)):
        middle, end = (start, start + 1) if stop - start < 2 else (center, stop)
        rising = np.linspace(0, 1, middle - start, endpoint=False)
        falling = np.linspace(1, 0, end - middle, endpoint=False)
        shape = np.concatenate([rising, falling])
        bands[start:end, band] = shape / shape.sum()
    return bands.astype(np.float32)


def _transform() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the windowed Fourier transform as two matrices (1411 samples, 705 bins): real and imaginary parts."""
    angles = 2 * np.pi / WINDOW_SAMPLES * np.outer(np.arange(WINDOW_SAMPLES), np.arange(BINS))
    window = np.hanning(WINDOW_SAMPLES)[:, np.newaxis]
    return (window * np.cos(angles)).astype(np.float32), (-window * np.sin(angles)).astype(np.float32)


class BeatNet(nn.Module):
    """One step: (batch, 441) audio in [-1, 1] and the state -> (batch, 3) probabilities and the next state."""

    real: Tensor
    imaginary: Tensor
    bands: Tensor

    def __init__(self) -> None:
        super().__init__()
        real, imaginary = _transform()
        self.register_buffer("real", torch.from_numpy(real), persistent=False)
        self.register_buffer("imaginary", torch.from_numpy(imaginary), persistent=False)
        self.register_buffer("bands", torch.from_numpy(filterbank()), persistent=False)
        self.conv1 = nn.Conv1d(1, 2, _KERNEL)
        self.linear0 = nn.Linear(2 * ((2 * _BANDS - _KERNEL + 1) // 2), _UNITS)
        self.cells = nn.ModuleList(nn.LSTMCell(_UNITS, _UNITS) for _ in range(_LAYERS))
        self.linear = nn.Linear(_UNITS, 3)

    def forward(
        self, audio: Tensor, history: Tensor, spectrum: Tensor, steps: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Take audio (batch, 441), history (batch, 1146), spectrum (batch, 136), steps (batch, 1), h, c (batch, 300).

        Returns the probabilities of beat, downbeat and neither (batch, 3), and the next state in the same order.
        """
        samples = torch.cat([history, audio], 1)
        window = samples[:, :WINDOW_SAMPLES]
        magnitude = ((window @ self.real) ** 2 + (window @ self.imaginary) ** 2).sqrt()
        spectrum_next = torch.log10(magnitude @ self.bands + 1)
        rise = (spectrum_next - spectrum).relu() * (steps > 1).to(spectrum.dtype)
        hidden = self.conv1(torch.cat([spectrum_next, rise], 1).unsqueeze(1)).relu()
        hidden = self.linear0(nn.functional.max_pool1d(hidden, 2).flatten(1))
        hs, cs = [], []
        for layer, cell in enumerate(self.cells):
            part = slice(layer * _UNITS, (layer + 1) * _UNITS)
            hidden, memory = cell(hidden, (h[:, part], c[:, part]))
            hs.append(hidden)
            cs.append(memory)
        # Step 0 completes no frame of the music yet: it leaves the LSTM as it was.
        frame = steps > 0
        h_next = torch.where(frame, torch.cat(hs, 1), h)
        c_next = torch.where(frame, torch.cat(cs, 1), c)
        steps_next = (steps + 1).clamp(max=_NEVER_MORE_STEPS)
        probabilities = self.linear(hidden).softmax(1)
        return probabilities, samples[:, HOP_SAMPLES:].clone(), spectrum_next, steps_next, h_next, c_next


def build(cache_dir: Path) -> BeatNet:
    """Return the module with its trained weights, in inference mode."""
    published = torch.load(WEIGHTS.fetch(cache_dir), weights_only=True)
    weights = {name: tensor for name, tensor in published.items() if not name.startswith("lstm.")}
    for layer in range(_LAYERS):
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            weights[f"cells.{layer}.{part}"] = published[f"lstm.{part}_l{layer}"]
    module = BeatNet()
    module.load_state_dict(weights, strict=True)
    return module.eval()


def example(generator: torch.Generator, batch: int) -> dict[str, Tensor]:
    """Return noise as loud as music, and the state a sequence starts from."""
    return {
        "audio": (torch.randn((batch, HOP_SAMPLES), generator=generator) * 0.2).clamp(-1, 1),
        "history": torch.zeros((batch, HISTORY_SAMPLES)),
        "spectrum": torch.zeros((batch, _BANDS)),
        "steps": torch.zeros((batch, 1)),
        "h": torch.zeros((batch, _LAYERS * _UNITS)),
        "c": torch.zeros((batch, _LAYERS * _UNITS)),
    }


def metadata(cache_dir: Path) -> dict[str, str]:
    """Return what a client needs to cut audio into steps, and to place the answers in time."""
    return {
        "cuelight.sample_rate_hz": str(SAMPLE_RATE_HZ),
        "cuelight.chunk_samples": str(HOP_SAMPLES),
        "cuelight.delay_steps": "1",
    }


SPEC = ExportSpec(
    name="beatnet",
    summary="CRNN, 20 ms of music to the probabilities of beat and downbeat",
    build=build,
    example=example,
    outputs=("probabilities", "history_next", "spectrum_next", "steps_next", "h_next", "c_next"),
    task="beat_tracking",
    max_batch_size=64,
    parity_batches=(1, 3, 16),
    parity_steps=20,
    golden_batches=(1, 3),
    atol=1e-4,
    rtol=1e-4,
    state=tuple(StatePair(name, f"{name}_next") for name in ("history", "spectrum", "steps", "h", "c")),
    metadata=metadata,
    files=(WEIGHTS,),
    source="BeatNet 1.1.3, model 1",
    license="CC-BY-4.0",
    architecture="CRNN: convolution, two LSTM layers",
    check=Check(
        "the published network over whole music",
        "tests/exporters/test_beatnet.py::test_steps_equal_the_network_over_whole_music",
    ),
    int8_method="int8-dynamic",
)
