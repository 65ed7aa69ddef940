"""Small changes of images by chance, to train on what a few images do not show."""

import torch
from torch import Tensor, nn

__all__ = ["altered"]

_TURN_RADIANS, _STRETCH, _SHIFT = 0.2, 0.2, 0.15
"""How far an image is turned and stretched either way (in natural logarithms), and moved, as a share of half of it."""


def altered(images: Tensor) -> Tensor:
    """Return the images (count, 1, height, width), turned, stretched and moved by chance; what comes in is 0."""
    count = len(images)
    turn = (torch.rand(count) * 2 - 1) * _TURN_RADIANS
    wide, high = torch.exp((torch.rand(2, count) * 2 - 1) * _STRETCH)
    right, down = (torch.rand(2, count) * 2 - 1) * _SHIFT
    across = torch.stack([turn.cos() * wide, -turn.sin() * high, right], 1)
    along = torch.stack([turn.sin() * wide, turn.cos() * high, down], 1)
    grid = nn.functional.affine_grid(torch.stack([across, along], 1), list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, align_corners=False)
