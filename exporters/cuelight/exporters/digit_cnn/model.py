"""The network: two convolutions of 3 x 3, each pooled, and one dense layer to the ten digits."""

from pathlib import Path

import torch
from torch import Tensor, nn

__all__ = ["CLASSES", "SIZE", "DigitCnn", "load_checkpoint"]

SIZE = 28
CLASSES = 10
CHECKPOINT = Path(__file__).with_name("checkpoint.pt")

_FILTERS, _MORE_FILTERS = 32, 64
_KERNEL = 3
_POOL = 2
_POOLED = (SIZE - _KERNEL + 1) // _POOL
_POOLED_TWICE = (_POOLED - _KERNEL + 1) // _POOL


class DigitCnn(nn.Module):
    """(batch, 1, 28, 28) float32, 0 (paper) to 1 (ink) -> (batch, 10) logits and (batch, 10) probabilities."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, _FILTERS, _KERNEL)
        self.further = nn.Conv2d(_FILTERS, _MORE_FILTERS, _KERNEL)
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(_MORE_FILTERS * _POOLED_TWICE * _POOLED_TWICE, CLASSES)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and, by softmax, probabilities."""
        pooled = nn.functional.max_pool2d(self.convolution(image).relu(), _POOL)
        pooled = nn.functional.max_pool2d(self.further(pooled).relu(), _POOL)
        logits: Tensor = self.dense(self.dropout(pooled.flatten(1)))
        return logits, logits.softmax(1)


def load_checkpoint(path: Path = CHECKPOINT) -> DigitCnn:
    """Return the trained network, in inference mode."""
    network = DigitCnn()
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()
