"""The network: one LSTM layer reads the sequence, a linear layer reads its last state."""

from pathlib import Path

import torch
from torch import Tensor, nn

__all__ = ["HISTORY", "SequenceRegressor", "load_checkpoint"]

HISTORY = 32
"""How many values the network was trained to see."""
CHECKPOINT = Path(__file__).with_name("checkpoint.pt")

_HIDDEN = 32


class SequenceRegressor(nn.Module):
    """(batch, time, 1) float32, oldest first -> (batch, 1): the value six times after the last one."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))
        self.lstm = nn.LSTM(1, _HIDDEN, batch_first=True)
        self.outer = nn.Linear(_HIDDEN, 1)

    def forward(self, series: Tensor) -> Tensor:
        """Return the value foreseen."""
        normal = (series - self.mean) / self.deviation
        hidden, _ = self.lstm(normal)
        # What is learned is the change from the last value seen.
        foreseen: Tensor = (normal[:, -1] + self.outer(hidden[:, -1])) * self.deviation + self.mean
        return foreseen


def load_checkpoint(path: Path = CHECKPOINT) -> SequenceRegressor:
    """Return the trained network, in inference mode."""
    network = SequenceRegressor()
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()
