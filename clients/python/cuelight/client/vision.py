"""Photos to labels by tensors: decoded and prepared here, as the model's own description says.

For servers that speak the Open Inference Protocol alone; to a Cuelight server, send the file with `VisionClient`.
Decoding needs Pillow: `pip install cuelight[vision]`.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.client.errors import InvalidRequest
from cuelight.client.inference import InferenceClient

__all__ = ["Classification", "classify", "prepare_image"]

_KEYS = ("kind", "datatype", "layout", "color", "resize", "crop", "scale", "mean", "std")


@dataclass(frozen=True, slots=True)
class Classification:
    """One label with its probability, 0 to 1."""

    label: str
    probability: float
    index: int = -1
    """The class's place among the model's, from 0 on."""


def classify(
    client: InferenceClient,
    image: bytes | str | Path | NDArray[np.uint8],
    *,
    model: str = "efficientnet_lite0",
    top_k: int = 5,
) -> list[Classification]:
    """Return the `top_k` most probable labels, best first.

    `image` is an encoded file (bytes or path) or pixels (height, width, 3) uint8 RGB. Labels and preprocessing are the
    model's own, read from the server.

    Raises: InvalidRequest for an image that cannot be decoded or a model that does not describe itself; otherwise as
    `InferenceClient.infer`.
    """
    batch = prepare_image(image, client.described(model, "preprocessing"))
    labels = client.described(model, "labels")
    said = client.describe(model)
    outputs = client.infer(model, {client.inputs_of(model)[0].name: batch})
    (scores,) = next(array for name, array in outputs.items() if name != said.get("embedding"))
    probabilities = scores if said.get("scores") == "probabilities" else _softmax(scores)
    best = np.argsort(-probabilities, kind="stable")[:top_k]
    return [Classification(labels[index], float(probabilities[index]), int(index)) for index in best]


def prepare_image(image: bytes | str | Path | NDArray[np.uint8], how: dict[str, Any]) -> NDArray[Any]:
    """Return the image as a model takes it, in the order of the server: color, resize, crop, scaling, layout.

    `how` is a model's `preprocessing`. The result is (1, channels, height, width) for the layout NCHW and
    (1, height, width, channels) for NHWC; float32, or for the datatype UINT8 the pixels as they are.

    Raises: InvalidRequest for an image that cannot be decoded, or a description with a key that is not known here.
    """
    pil, picture = _decoded(image)
    if unknown := [key for key in how if key not in _KEYS]:
        raise InvalidRequest(f'preprocessing: key "{unknown[0]}" is not known; known are {", ".join(_KEYS)}')
    cut = _cut(pil, picture.convert("L") if how.get("color") == "GRAY" else picture, how)
    pixels = np.asarray(cut).reshape(cut.height, cut.width, -1)
    if how.get("color") == "BGR":
        pixels = pixels[:, :, ::-1]
    if how.get("datatype") != "UINT8":
        mean, std = np.array(how.get("mean") or 0.0, np.float32), np.array(how.get("std") or 1.0, np.float32)
        pixels = (pixels.astype(np.float32) * np.float32(how.get("scale", 1.0)) - mean) / std
    laid_out = pixels.transpose(2, 0, 1) if how.get("layout", "NCHW") == "NCHW" else pixels
    return np.ascontiguousarray(laid_out[np.newaxis])


def _cut(pil: Any, picture: Any, how: dict[str, Any]) -> Any:
    """Return the middle of the resized picture."""
    resize = how.get("resize") or {}
    if "size" in resize:
        size = tuple(reversed(resize["size"]))
    else:
        scale = resize["short_side"] / min(picture.size) if resize else 1.0
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    resized = picture.resize(size, getattr(pil.Resampling, resize.get("interpolation", "bilinear").upper()))
    height, width = how.get("crop") or resize["size"]
    left, top = (resized.width - width) // 2, (resized.height - height) // 2
    return resized.crop((left, top, left + width, top + height))


def _softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    powers = np.exp(logits.astype(np.float64) - logits.max())
    shares: NDArray[np.float64] = powers / powers.sum()
    return shares


def _decoded(image: bytes | str | Path | NDArray[np.uint8]) -> tuple[Any, Any]:
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: PLC0415 (an extra of the base install)
    except ImportError as error:
        raise InvalidRequest("decoding images needs Pillow: pip install cuelight[vision]") from error
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise InvalidRequest(f"expected pixels (height, width, 3) uint8, got {image.shape} {image.dtype}")
        return Image, Image.fromarray(image)
    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
            upright = ImageOps.exif_transpose(opened)
    except (UnidentifiedImageError, OSError) as error:
        raise InvalidRequest(f"cannot decode the image: {error}") from error
    if "A" not in upright.getbands() and "transparency" not in upright.info:
        return Image, upright.convert("RGB")
    white = Image.new("RGBA", upright.size, (255, 255, 255, 255))
    return Image, Image.alpha_composite(white, upright.convert("RGBA")).convert("RGB")
