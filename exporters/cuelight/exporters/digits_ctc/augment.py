"""What is done to the features of a training batch: other vocal tracts, other speeds of speaking, and gaps.

Filters are warped as a longer or shorter vocal tract moves formants; time is stretched, which leaves the pitch alone;
bands of bins and stretches of time are hidden (SpecAugment, arXiv:1904.08779). `wildness`, 0 to 1, is how much.
"""

import math

import torch
from torch import Tensor

from cuelight.exporters.digits_ctc.features import mel_bank

__all__ = ["hidden_spans", "random_banks", "stretch_factors", "stretched", "warped_banks"]

_WARPS = 15
_WIDEST_WARP = 0.2
_WIDEST_STRETCH = 1.3
_BAND_BINS = 9
_GAP_FRAMES = 10
_FRAMES_A_GAP = 120


def warped_banks() -> Tensor:
    """Return mel filters (warps, fft/2, 80) for vocal tracts shorter and longer by up to a fifth."""
    return torch.stack([mel_bank(float(warp)) for warp in torch.linspace(1 - _WIDEST_WARP, 1 + _WIDEST_WARP, _WARPS)])


def random_banks(banks: Tensor, batch: int, wildness: float) -> Tensor:
    """Return (batch, fft/2, 80), one of the warped banks for each string, the plain one in the middle."""
    middle = (len(banks) - 1) / 2
    return banks[(middle + (2 * torch.rand(batch) - 1) * wildness * middle).round().long()]


def stretch_factors(batch: int, wildness: float) -> Tensor:
    """Return (batch,) random factors of length, as likely to shorten as to lengthen."""
    return torch.exp((2 * torch.rand(batch) - 1) * wildness * math.log(_WIDEST_STRETCH))


def stretched(features: Tensor, frames: Tensor, factors: Tensor) -> Tensor:
    """Return (batch, longest, bins), row b as long as `frames[b] * factors[b]`, in straight lines between frames."""
    longest = int((frames * factors).max())
    at = (torch.arange(longest)[None] / factors[:, None]).clamp(max=features.shape[1] - 1.001)
    before = at.long()
    index = before[..., None].expand(-1, -1, features.shape[2])
    return torch.lerp(features.gather(1, index), features.gather(1, index + 1), (at - before)[..., None])


def hidden_spans(features: Tensor, wildness: float) -> Tensor:
    """Return normalised features (batch, frames, bins) with some bands and short gaps set to the mean, 0."""
    batch, frames, bins = features.shape
    kept = torch.ones_like(features)
    for _ in range(2):
        kept *= ~_spans(batch, bins, round(_BAND_BINS * wildness))[:, None, :]
    for _ in range(max(1, frames // _FRAMES_A_GAP)):
        kept *= ~_spans(batch, frames, round(_GAP_FRAMES * wildness))[:, :, None]
    return features * kept


def _spans(batch: int, size: int, longest: int) -> Tensor:
    """Return (batch, size) bool, true over one random span of 0 to `longest` in each row."""
    length = torch.randint(longest + 1, (batch, 1))
    start = (torch.rand((batch, 1)) * (size - length)).long()
    position = torch.arange(size)[None]
    return (position >= start) & (position < start + length)
