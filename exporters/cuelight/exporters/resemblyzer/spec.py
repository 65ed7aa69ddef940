"""The speaker encoder and its export: three LSTM layers over 1.6 s, the last state through a linear layer, length 1.

The published file is a pickle that also holds the optimizer; PyTorch's restricted unpickler reads it, which makes
tensors and nothing else. Source: Wan, Wang, Papir and Lopez Moreno, Generalized end-to-end loss for speaker
verification, ICASSP 2018; Resemblyzer 0.1.4, voice_encoder.py (Jemine; Apache-2.0).
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cuelight.exporters.resemblyzer.features import HOP_SAMPLES, MELS, SAMPLE_RATE_HZ, WINDOW_FRAMES, windows
from cuelight.exporters.samples import RECORDING
from cuelight.exporters.spec import Arrays, Check, ExportSpec
from cuelight.exporters.weights import WheelFile

__all__ = ["SPEC", "SpeakerEncoder", "build", "calibration", "example", "metadata"]

WEIGHTS = WheelFile(
    requirement="Resemblyzer==0.1.4",
    path="resemblyzer/pretrained.pt",
    sha256="39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
)

WIDTH = 256
_LAYERS = 3
_LOSS_PARAMETERS = {"similarity_weight", "similarity_bias"}
"""Of the training's loss; the network does without."""
_LEAST_LENGTH = 1e-12
"""A vector of zeros stays one, where the original divides by 0."""


class SpeakerEncoder(nn.Module):
    """(batch, 160, 40) mel energies -> (batch, 256) vectors of length 1, no component below 0."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(MELS, WIDTH, _LAYERS, batch_first=True)
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, mels: Tensor) -> Tensor:
        """Return the vectors; the dot product of two is their likeness, 0 to 1."""
        hidden, _ = self.lstm(mels)
        raw: Tensor = self.linear(hidden[:, -1]).relu()
        length: Tensor = raw.norm(dim=1, keepdim=True)
        return raw / length.clamp(min=_LEAST_LENGTH)


def build(cache_dir: Path) -> SpeakerEncoder:
    """Return the module with its trained weights, in inference mode."""
    published = torch.load(WEIGHTS.fetch(cache_dir), map_location="cpu", weights_only=True)["model_state"]
    weights = {name: tensor for name, tensor in published.items() if name not in _LOSS_PARAMETERS}
    module = SpeakerEncoder()
    module.load_state_dict(weights, strict=True)
    return module.eval()


def example(generator: torch.Generator, batch: int) -> dict[str, Tensor]:
    """Return mel energies spread over magnitudes as those of speech are."""
    return {"mels": torch.exp(torch.randn((batch, WINDOW_FRAMES, MELS), generator=generator) * 2 - 5)}


def metadata(cache_dir: Path) -> dict[str, str]:
    """Return what the frames are made from."""
    return {
        "cuelight.sample_rate_hz": str(SAMPLE_RATE_HZ),
        "cuelight.hop_samples": str(HOP_SAMPLES),
        "cuelight.window_frames": str(WINDOW_FRAMES),
    }


def calibration(cache_dir: Path) -> list[Arrays]:
    """Return the windows of a recording, each a batch of its own."""
    import soundfile  # noqa: PLC0415 (an export does without)

    mels = windows(soundfile.read(RECORDING.fetch(cache_dir), dtype="float32")[0])
    return [{"mels": window[np.newaxis]} for window in mels]


SPEC = ExportSpec(
    name="resemblyzer",
    summary="LSTM, mel frames of 1.6 s of speech to a vector of its speaker",
    build=build,
    example=example,
    outputs=("embedding",),
    task="speaker_embedding",
    max_batch_size=32,
    parity_batches=(1, 3, 16),
    golden_batches=(1, 3),
    atol=1e-4,
    rtol=1e-4,
    metadata=metadata,
    files=(WEIGHTS,),
    source="Resemblyzer 0.1.4",
    license="Apache-2.0",
    calibration=calibration,
    architecture="LSTM, 3 layers",
    check=Check("speakers told apart", "tests/exporters/test_resemblyzer.py::test_speakers_are_told_apart"),
    int8_method="int8-dynamic",
)
