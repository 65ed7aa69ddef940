"""How a model wants its images: the metadata `cuelight.preprocessing`, read strictly and done exactly.

    {"kind": "image", "layout": "NCHW", "color": "RGB",
     "resize": {"short_side": 256, "interpolation": "bicubic"}, "crop": [224, 224],
     "scale": 0.00392, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}

    picture -> colors -> resize -> crop of the middle -> (pixel * scale - mean) / std -> layout

`layout` is NCHW or NHWC, `color` RGB, BGR or GRAY. `resize` may be left out, or have a `size` [height, width] in place
of `short_side`. `crop` [height, width] may be left out where `resize` has a `size`; what it takes beyond the edges is
black. `scale` is 1 where it is left out, `mean` 0, `std` 1. A key that is not known is an error: it would change the
result.

`datatype` is FP32, also where it is left out, or UINT8: the pixels from 0 to 255 as they are, a quarter of the bytes. A
model that takes those scales them itself, so `scale`, `mean` and `std` do not go with it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = [
    "BRIGHTEST",
    "PREPROCESSING_KEY",
    "MetadataUnusable",
    "Pixels",
    "Preprocessing",
    "Region",
    "Resize",
    "preprocessing_of",
]

PREPROCESSING_KEY = "cuelight.preprocessing"
BRIGHTEST = 255

_KEYS = ("kind", "datatype", "layout", "color", "resize", "crop", "scale", "mean", "std")
_SCALING = ("scale", "mean", "std")
_DATATYPES = ("FP32", "UINT8")
_LAYOUTS = ("NCHW", "NHWC")
_CHANNELS = {"RGB": 3, "BGR": 3, "GRAY": 1}
_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_LONGEST_SIDE = 16_384

Pixels = NDArray[Any]
"""An image as a model takes it: float32, or uint8 of a model that takes pixels as they are."""


class MetadataUnusable(Exception):
    """The model's metadata lacks something or says it wrongly; the message names the key."""


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a picture, in its pixels; may reach beyond the edges."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Resize:
    """To a shorter side (the other in proportion), or to `size` (height, width)."""

    short_side: int = 0
    size: tuple[int, int] = (0, 0)
    interpolation: str = "bilinear"

    def target(self, width: int, height: int) -> tuple[int, int]:
        """Return the new (width, height)."""
        if not self.short_side:
            return self.size[1], self.size[0]
        scale = self.short_side / min(width, height)
        return max(1, round(width * scale)), max(1, round(height * scale))


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """From a picture to what the model takes. `height` and `width` are those of the result."""

    layout: str
    color: str
    resize: Resize | None
    height: int
    width: int
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    datatype: str = "FP32"

    @property
    def shape(self) -> tuple[int, int, int]:
        """The result's shape, without a batch axis."""
        channels = _CHANNELS[self.color]
        if self.layout == "NCHW":
            return channels, self.height, self.width
        return self.height, self.width, channels

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Return the (width, height) that a picture has after resizing."""
        return (width, height) if self.resize is None else self.resize.target(width, height)

    def region(self, width: int, height: int) -> Region:
        """Return which part of a picture of this size the model is shown."""
        resized_width, resized_height = self.resized(width, height)
        across, down = width / resized_width, height / resized_height
        left, top = (resized_width - self.width) // 2, (resized_height - self.height) // 2
        return Region(left * across, top * down, self.width * across, self.height * down)

    def apply(self, picture: Image.Image) -> Pixels:
        """Return an RGB picture as `shape` float32, or uint8 where the model takes that."""
        colored = picture.convert("L") if self.color == "GRAY" else picture
        if self.resize is not None:
            # The whole of it: Pillow's box is of 32 bits, and filters would look at other pixels beside the crop.
            target = self.resized(*picture.size)
            colored = colored.resize(target, _FILTERS[self.resize.interpolation])
        left, top = (colored.width - self.width) // 2, (colored.height - self.height) // 2
        cut = colored.crop((left, top, left + self.width, top + self.height))
        pixels = np.asarray(cut).reshape(self.height, self.width, -1)
        if self.color == "BGR":
            pixels = pixels[:, :, ::-1]
        if self.datatype != "UINT8":
            pixels = self._scaled(pixels)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1) if self.layout == "NCHW" else pixels)

    def noise(self, random: np.random.Generator) -> Pixels:
        """Return an image of noise as the model takes it, in `shape`."""
        if self.datatype == "UINT8":
            return random.integers(0, BRIGHTEST, self.shape, np.uint8, endpoint=True)
        return random.standard_normal(self.shape, np.float32)

    def _scaled(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        scaled: NDArray[np.float32] = (pixels.astype(np.float32) * np.float32(self.scale) - mean) / std
        return scaled


def preprocessing_of(text: str) -> Preprocessing:
    """Read the metadata's JSON. Raises: MetadataUnusable naming the key, what came and what was expected."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unusable(f"not JSON: {error}") from None
    if not isinstance(said, dict):
        raise _unusable(f"expected a JSON object, got {text[:40]}")
    for key in said:
        if key not in _KEYS:
            raise _unusable(f'key "{key}" is not known; known are {", ".join(_KEYS)}')
    _choice(said, "kind", ("image",))
    layout, color = _choice(said, "layout", _LAYOUTS), _choice(said, "color", tuple(_CHANNELS))
    datatype = _choice({"datatype": "FP32"} | said, "datatype", _DATATYPES)
    if datatype == "UINT8" and (scaling := [key for key in _SCALING if said.get(key) is not None]):
        raise _unusable(f'"{scaling[0]}" does not go with "datatype" UINT8: pixels are given from 0 to 255')
    resize = _resize(said["resize"]) if said.get("resize") is not None else None
    crop = _sides(said["crop"], "crop") if said.get("crop") is not None else None
    if crop is None and (resize is None or resize.short_side):
        raise _unusable('"crop" is missing, and "resize" has no "size": the size of the result is not known')
    height, width = crop or (resize.size if resize is not None else (0, 0))
    scale = _number(said.get("scale", 1.0), "scale")
    mean, std = (_per_channel(said, key, _CHANNELS[color], default) for key, default in (("mean", 0.0), ("std", 1.0)))
    if not scale or not all(std):
        raise _unusable('"scale" and "std" must not be 0')
    return Preprocessing(layout, color, resize, height, width, scale, mean, std, datatype)


def _resize(said: Any) -> Resize:
    if not isinstance(said, dict) or not {"short_side", "size", "interpolation"}.issuperset(said):
        raise _unusable('"resize": expected an object with "short_side" or "size", and "interpolation"')
    if ("short_side" in said) == ("size" in said):
        raise _unusable('"resize": expected either "short_side" or "size"')
    interpolation = _choice(
        {"resize.interpolation": "bilinear"} | _named(said), "resize.interpolation", tuple(_FILTERS)
    )
    if "size" in said:
        return Resize(size=_sides(said["size"], "resize.size"), interpolation=interpolation)
    return Resize(_side(said["short_side"], "resize.short_side"), interpolation=interpolation)


def _named(said: Mapping[str, Any]) -> dict[str, Any]:
    return {f"resize.{key}": value for key, value in said.items()}


def _choice(said: Mapping[str, Any], key: str, choices: tuple[str, ...]) -> str:
    value = said.get(key)
    if not isinstance(value, str) or value not in choices:
        came = "is missing" if key not in said else f"is {value!r}"
        raise _unusable(f'"{key}" {came}, expected {" or ".join(choices)}')
    return value


def _sides(said: Any, key: str) -> tuple[int, int]:
    if not isinstance(said, list) or len(said) != 2:
        raise _unusable(f'"{key}" is {said!r}, expected [height, width]')
    return _side(said[0], key), _side(said[1], key)


def _side(said: Any, key: str) -> int:
    if type(said) is not int or not 1 <= said <= _LONGEST_SIDE:
        raise _unusable(f'"{key}" is {said!r}, expected pixels, 1 to {_LONGEST_SIDE}')
    return said


def _per_channel(said: Mapping[str, Any], key: str, channels: int, default: float) -> tuple[float, ...]:
    values = said.get(key)
    if values is None:
        return (default,) * channels
    if not isinstance(values, list) or len(values) != channels:
        raise _unusable(f'"{key}" is {values!r}, expected {channels} numbers, one a channel')
    return tuple(_number(value, key) for value in values)


def _number(said: Any, key: str) -> float:
    if isinstance(said, bool) or not isinstance(said, int | float) or not np.isfinite(said):
        raise _unusable(f'"{key}" is {said!r}, expected a number')
    return float(said)


def _unusable(what: str) -> MetadataUnusable:
    return MetadataUnusable(f'metadata "{PREPROCESSING_KEY}": {what}')
