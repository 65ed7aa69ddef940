"""The network: one Transformer block over the 16 patches of a digit, whose attention weights are an output.

There is one block on purpose: the weights of a single layer are all the mixing of patches there is, so they say exactly
what each patch has taken from which. Source: Vaswani et al., Attention Is All You Need, 2017, sections 3.2 and 3.3;
patches as tokens: Dosovitskiy et al., An Image Is Worth 16x16 Words, 2021, section 3.1. The norms stand before each
part, as in the latter.
"""

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from cuelight.exporters.optdigits import SIDE

__all__ = ["CLASSES", "HEADS", "TOKENS", "WIDTH", "PatchAttention", "SelfAttention", "load_checkpoint"]

CLASSES = 10
HEADS = 4
WIDTH = 64
PATCH = 2
TOKENS = (SIDE // PATCH) ** 2
CHECKPOINT = Path(__file__).with_name("checkpoint.pt")

_INNER = 2 * WIDTH


class SelfAttention(nn.Module):
    """(batch, tokens, width) -> the same, and weights (batch, heads, tokens, tokens): row i is what token i heeds."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.inner = nn.Linear(width, 3 * width)
        self.outer = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the heads took from all tokens, mixed, and with which weights."""
        batch, count, width = tokens.shape
        # (3, batch, heads, tokens, width / heads): queries, keys and values of all heads at once.
        parts = self.inner(tokens).reshape(batch, count, 3, self._heads, width // self._heads).permute(2, 0, 3, 1, 4)
        query, key, value = parts[0], parts[1], parts[2]
        weights = (query @ key.transpose(-1, -2) / math.sqrt(width // self._heads)).softmax(-1)
        heard = (weights @ value).transpose(1, 2).reshape(batch, count, width)
        return self.outer(heard), weights


class PatchAttention(nn.Module):
    """(batch, 1, 8, 8) float32, 0 (paper) to 1 (ink) -> (batch, 10) logits and (batch, 4, 16, 16) attention weights."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, WIDTH, PATCH, PATCH)
        self.positions = nn.Parameter(torch.randn(TOKENS, WIDTH) * 0.02)
        self.attention_norm = nn.LayerNorm(WIDTH)
        self.attention = SelfAttention(WIDTH, HEADS)
        self.inner_norm = nn.LayerNorm(WIDTH)
        self.inner = nn.Sequential(nn.Linear(WIDTH, _INNER), nn.GELU(), nn.Dropout(dropout), nn.Linear(_INNER, WIDTH))
        self.norm = nn.LayerNorm(WIDTH)
        self.dropout = nn.Dropout(dropout)
        self.outer = nn.Linear(WIDTH, CLASSES)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and attention weights; patches are counted row by row."""
        tokens = self.patches(image).flatten(2).transpose(1, 2) + self.positions
        heard, weights = self.attention(self.attention_norm(tokens))
        tokens = tokens + self.dropout(heard)
        tokens = tokens + self.dropout(self.inner(self.inner_norm(tokens)))
        logits: Tensor = self.outer(self.norm(tokens).mean(1))
        return logits, weights


def load_checkpoint(path: Path = CHECKPOINT) -> PatchAttention:
    """Return the trained network, in inference mode."""
    network = PatchAttention()
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()
