"""Small changes of images by chance, to train on what a few images do not show."""

import math

import torch
from torch import Tensor, nn

__all__ = ["altered", "redrawn"]

_TURN_RADIANS, _STRETCH, _SHIFT = 0.2, 0.2, 0.15
"""How far an image is turned and stretched either way (in natural logarithms), and moved, as a share of half of it."""
_WIDENED, _THINNED, _SHARPENED = 0.3, 0.1, 0.5
"""Shares of the images whose strokes are made wider, thinner, and of harder edges."""
_STEEPEST = 6.0
_MIDDLE = (0.35, 0.6)
"""What becomes half ink where edges are made harder."""


def altered(images: Tensor, smallest: float = 1.0) -> Tensor:
    """Return the images (count, 1, height, width), turned, stretched and moved by chance; what comes in is 0.

    With `smallest` below 1 every other one, by chance, is also made smaller, down to that share of its size, and moved
    anywhere within the margin that this leaves.
    """
    count = len(images)
    turn = (torch.rand(count) * 2 - 1) * _TURN_RADIANS
    wide, high = torch.exp((torch.rand(2, count) * 2 - 1) * _STRETCH)
    right, down = (torch.rand(2, count) * 2 - 1) * _SHIFT
    if smallest < 1:
        smaller = torch.exp(torch.rand(count) * -math.log(smallest) * (torch.rand(count) < 0.5))
        wide, high = wide * smaller, high * smaller
        right, down = (torch.stack([right, down]) + (torch.rand(2, count) * 2 - 1) * (smaller - 1)).unbind()
    across = torch.stack([turn.cos() * wide, -turn.sin() * high, right], 1)
    along = torch.stack([turn.sin() * wide, turn.cos() * high, down], 1)
    grid = nn.functional.affine_grid(torch.stack([across, along], 1), list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, align_corners=False)


def redrawn(images: Tensor) -> Tensor:
    """Return images (count, 1, height, width) of 0 (paper) to 1 (ink) as by another pen, by chance.

    Some strokes are a pixel wider on either side, some as much thinner, and some of harder edges and fuller ink.
    """
    count = len(images)
    by = torch.rand((count, 1, 1, 1))
    wider = nn.functional.max_pool2d(images, 3, 1, 1)
    thinner = -nn.functional.max_pool2d(-images, 3, 1, 1)
    strokes = torch.where(by < _WIDENED, wider, torch.where(by > 1 - _THINNED, thinner, images))
    steep = 1 + torch.rand((count, 1, 1, 1)) * (_STEEPEST - 1)
    middle = _MIDDLE[0] + torch.rand((count, 1, 1, 1)) * (_MIDDLE[1] - _MIDDLE[0])
    harder = ((strokes - middle) * steep + 0.5).clamp(0, 1)
    return torch.where(torch.rand((count, 1, 1, 1)) < _SHARPENED, harder, strokes)
