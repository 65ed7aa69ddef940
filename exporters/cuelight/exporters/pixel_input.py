"""Pixels straight into a model of images: bytes on the wire, scaled by the graph itself."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cuelight.exporters.errors import ExportError

__all__ = ["PixelInput"]

_BRIGHTEST = 255


class PixelInput(nn.Module):
    """A model of images that takes pixels as they are: (batch, height, width, channels) uint8, from 0 to 255.

    The network behind it gets (pixel - mean) / std as (batch, channels, height, width) float32. `mean` and `std` are in
    pixel values, one for all channels or one each. A call then carries a quarter of the bytes, no caller can scale
    wrongly, and the preprocessing of the metadata is `{"datatype": "UINT8", "layout": "NHWC", ...}` without `scale`,
    `mean` and `std`.

    Raises: ExportError for a `std` below 1, which is one of numbers from 0 to 1: parity with PyTorch would agree all
    the same, and no answer be right.
    """

    def __init__(self, network: nn.Module, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        super().__init__()
        if _per_channel(std).abs().min() < 1:
            times_255 = " ".join(_said(_BRIGHTEST * _per_channel(values)) for values in (mean, std))
            raise ExportError(
                f"an STD of pixel values, 0 to 255, is 1 or more, got {_said(_per_channel(std))}; "
                f"MEAN and STD times 255 are {times_255}"
            )
        self.network = network
        # Constants of the preprocessing: no checkpoint has them.
        self.register_buffer("mean", _per_channel(mean), persistent=False)
        self.register_buffer("std", _per_channel(std), persistent=False)
        self.mean: Tensor
        self.std: Tensor

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return what the network returns."""
        channels_first = image.permute(0, 3, 1, 2).to(torch.float32)
        returned: Tensor | tuple[Tensor, ...] = self.network((channels_first - self.mean) / self.std)
        return returned


def _per_channel(values: float | Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1)


def _said(values: Tensor) -> str:
    return ",".join(f"{value:.4g}" for value in values.flatten().tolist())
