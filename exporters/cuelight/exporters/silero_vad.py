"""Silero VAD: is somebody speaking in these 32 ms? A small convolutional front with an LSTM that remembers.

The module is rebuilt in PyTorch from the published weights. One step takes 512 new samples at 16 kHz and three state
tensors, all with the batch first: the last 64 samples of the step before (`context`) and the LSTM's `h` and `c`.
Source of the architecture: silero-vad 6.2.3, its weight file and the graph it publishes (MIT).
"""

from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from cuelight.exporters.spec import Check, ExportSpec, StatePair
from cuelight.exporters.weights import WheelFile

__all__ = ["PUBLISHED_ONNX", "SPEC", "SileroVad", "build", "example", "metadata"]

SAMPLE_RATE_HZ = 16_000
CHUNK_SAMPLES = 512
CONTEXT_SAMPLES = 64

WEIGHTS = WheelFile(
    requirement="silero-vad==6.2.3",
    path="silero_vad/data/silero_vad_16k_op15.onnx",
    sha256="7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49",
)
"""The weights are read out of this file's initializers. The safetensors file in the same wheel holds those of an older
release: its probabilities are up to 0.29 off the published model's over a recording of ten seconds."""
PUBLISHED_ONNX = WheelFile(
    requirement="silero-vad==6.2.3",
    path="silero_vad/data/silero_vad.onnx",
    sha256="1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
)

_PARAMETERS = {
    "stft_conv.weight": "stft.forward_basis_buffer",
    "final_conv.weight": "decoder.decoder.2.weight",
    "final_conv.bias": "decoder.decoder.2.bias",
    **{
        f"conv{index + 1}.{part}": f"encoder.{index}.reparam_conv.{part}"
        for index in range(4)
        for part in ("weight", "bias")
    },
    **{f"lstm_cell.{part}": f"decoder.rnn.{part}" for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")},
}
"""Our parameter -> the initializer it is read from, less the prefix `model.`."""

_BINS = 129
"""Frequencies of a 256-point transform: 256 / 2 + 1."""
_PAD_SAMPLES = 64
_HIDDEN = 128


class SileroVad(nn.Module):
    """One step: (batch, 512) audio in [-1, 1] and the state -> (batch, 1) probability of speech and the next state."""

    def __init__(self) -> None:
        super().__init__()
        # The short-time Fourier transform as a convolution: real parts of each bin, then imaginary parts.
        self.stft_conv = nn.Conv1d(1, 2 * _BINS, 256, stride=128, bias=False)
        self.conv1 = nn.Conv1d(_BINS, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
        self.lstm_cell = nn.LSTMCell(_HIDDEN, _HIDDEN)
        self.final_conv = nn.Conv1d(_HIDDEN, 1, 1)

    def forward(self, audio: Tensor, context: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Take audio (batch, 512), context (batch, 64), h and c (batch, 128); return probability and next state."""
        window = nn.functional.pad(torch.cat([context, audio], 1), (0, _PAD_SAMPLES), "reflect")
        spectrum = self.stft_conv(window.unsqueeze(1))
        magnitude = (spectrum[:, :_BINS] ** 2 + spectrum[:, _BINS:] ** 2).sqrt()
        encoded = magnitude
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            encoded = layer(encoded).relu()
        h_next, c_next = self.lstm_cell(encoded.squeeze(-1), (h, c))
        probability = self.final_conv(h_next.relu().unsqueeze(-1)).squeeze(-1).sigmoid()
        return probability, audio[:, -CONTEXT_SAMPLES:].clone(), h_next, c_next


def build(cache_dir: Path) -> SileroVad:
    """Return the module with its trained weights, in inference mode."""
    initializers = {tensor.name: tensor for tensor in onnx.load(WEIGHTS.fetch(cache_dir)).graph.initializer}
    weights = {
        ours: torch.from_numpy(numpy_helper.to_array(initializers[f"model.{theirs}"]).copy())
        for ours, theirs in _PARAMETERS.items()
    }
    module = SileroVad()
    module.load_state_dict(weights, strict=True)
    return module.eval()


def example(generator: torch.Generator, batch: int) -> dict[str, Tensor]:
    """Return noise as loud as speech, and zeros as state."""
    return {
        "audio": (torch.randn((batch, CHUNK_SAMPLES), generator=generator) * 0.1).clamp(-1, 1),
        "context": torch.zeros((batch, CONTEXT_SAMPLES)),
        "h": torch.zeros((batch, _HIDDEN)),
        "c": torch.zeros((batch, _HIDDEN)),
    }


def metadata(cache_dir: Path) -> dict[str, str]:
    """Return what a client needs to cut audio into steps."""
    return {"cuelight.sample_rate_hz": str(SAMPLE_RATE_HZ), "cuelight.chunk_samples": str(CHUNK_SAMPLES)}


SPEC = ExportSpec(
    name="silero_vad",
    summary="LSTM, 32 ms of audio to the probability of speech",
    build=build,
    example=example,
    outputs=("probability", "context_next", "h_next", "c_next"),
    task="voice_activity_detection",
    max_batch_size=64,
    parity_batches=(1, 3, 16),
    parity_steps=20,
    golden_batches=(1, 3),
    atol=1e-4,
    rtol=1e-4,
    state=(StatePair("context", "context_next"), StatePair("h", "h_next"), StatePair("c", "c_next")),
    metadata=metadata,
    files=(WEIGHTS,),
    source="silero-vad 6.2.3",
    license="MIT",
    architecture="LSTM over a convolutional front",
    check=Check(
        "probabilities of the published file over a recording",
        "tests/exporters/test_trained_models.py::test_probabilities_equal_the_published_file_over_a_whole_recording",
    ),
    int8_method="int8-dynamic",
)
