"""The network: four frames at a time through a linear layer, two LSTM layers and a linear layer to log-probabilities.

It is causal: a step of 16 frames (160 ms) sees nothing beyond itself, and all it remembers is `h` and `c` of the two
LSTM layers. They travel in the tensors that NeMo's cache-aware CTC models have for their caches, (batch, 2, 1, 192)
each, so that whatever runs those models runs this one: sherpa-onnx does.

The recordings it learns from end at 4 kHz, so it looks at the mel bins below that only: what a better microphone adds
above cannot confuse it.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

__all__ = [
    "BLANK",
    "CHUNK_FRAMES",
    "HIDDEN",
    "LAYERS",
    "SUBSAMPLING",
    "WORDS",
    "DigitsCtc",
    "StreamingDigitsCtc",
    "greedy",
    "load_checkpoint",
]

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
BLANK = len(WORDS)
CHUNK_FRAMES = 16
SUBSAMPLING = 4
LAYERS = 2
HIDDEN = 192
CHECKPOINT = Path(__file__).with_name("checkpoint.pt")

_HEARD_BINS = 60
"""Bins whose filters end below 3.8 kHz, where the resampler's passband of 8 kHz audio ends."""
_SILENCE = -15.0
"""Log-mel energies below this count as this: the quietest rooms are above it, digital silence would be -15.9."""


class DigitsCtc(nn.Module):
    """Log-mel (batch, frames, 80) and the state -> log-probabilities (batch, frames / 4, 11) and the next state."""

    mean: Tensor
    scale: Tensor

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(_HEARD_BINS))
        self.register_buffer("scale", torch.ones(_HEARD_BINS))
        self.inner = nn.Linear(SUBSAMPLING * _HEARD_BINS, HIDDEN)
        self.lstm = nn.LSTM(HIDDEN, HIDDEN, LAYERS, batch_first=True, dropout=dropout)
        self.outer = nn.Linear(HIDDEN, len(WORDS) + 1)
        self.dropout = nn.Dropout(dropout)

    def normalise(self, features: Tensor) -> Tensor:
        """Return the heard bins of (batch, frames, 80) with mean 0 and variance 1."""
        return (features[..., :_HEARD_BINS].clamp(min=_SILENCE) - self.mean) * self.scale

    def forward(self, normalised: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take what `normalise` gives, a multiple of 4 frames long, and h and c (layers, batch, 192)."""
        batch, frames, bins = normalised.shape
        stacked = normalised.reshape(batch, frames // SUBSAMPLING, SUBSAMPLING * bins)
        hidden, (h_next, c_next) = self.lstm(self.dropout(self.inner(stacked).relu()), (h, c))
        return self.outer(self.dropout(hidden)).log_softmax(-1), h_next, c_next

    def log_probs(self, features: Tensor) -> Tensor:
        """Return (batch, frames / 4, 11) of whole utterances (batch, frames, 80), from the empty state."""
        frames = features.shape[1] // SUBSAMPLING * SUBSAMPLING
        zeros = features.new_zeros((LAYERS, features.shape[0], HIDDEN))
        log_probs: Tensor = self(self.normalise(features[:, :frames]), zeros, zeros)[0]
        return log_probs


class StreamingDigitsCtc(nn.Module):
    """One step with the signature of NeMo's cache-aware CTC models; the normalisation is part of it."""

    def __init__(self, inner: DigitsCtc) -> None:
        super().__init__()
        self.inner = inner

    def forward(
        self, audio_signal: Tensor, length: Tensor, channel: Tensor, time: Tensor, seen: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Take (batch, 80, 16) log-mel, its length, h and c (batch, 2, 1, 192) and the count of steps seen (batch,)."""
        h, c = (state.squeeze(2).transpose(0, 1).contiguous() for state in (channel, time))
        log_probs, h, c = self.inner(self.inner.normalise(audio_signal.transpose(1, 2)), h, c)
        h, c = (state.transpose(0, 1).unsqueeze(2) for state in (h, c))
        return log_probs, length // SUBSAMPLING, h, c, seen + 1


def load_checkpoint(path: Path = CHECKPOINT) -> DigitsCtc:
    """Return the trained network, in inference mode."""
    model = DigitsCtc()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


def greedy(log_probs: Tensor) -> list[int]:
    """Return the tokens of one utterance (steps, 11): the best of each step, repeats merged, blanks dropped."""
    best = torch.unique_consecutive(log_probs.argmax(-1))
    return [token for token in best.tolist() if token != BLANK]
