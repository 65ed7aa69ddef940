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
    labels, said = client.described(model, "labels"), client.describe(model)
    outputs = client.infer(model, {client.inputs_of(model)[0].name: batch})
    scores = next(array for name, array in outputs.items() if name != said.get("embedding"))[0].astype(np.float64)
    probabilities = scores if said.get("scores") == "probabilities" else _softmax(scores)
    best = np.argsort(-probabilities, kind="stable")[:top_k]
    return [Classification(labels[index], float(probabilities[index]), int(index)) for index in best]


def prepare_image(image: bytes | str | Path | NDArray[np.uint8], how: dict[str, Any]) -> NDArray[Any]:
    """Return the image as a model takes it: in its colors, resized, centre cropped, scaled and normalized.

    `how` is a model's `preprocessing`. The result is (1, channels, height, width) for the layout NCHW and
    (1, height, width, channels) for NHWC; float32, or for the datatype UINT8 the pixels as they are.

    Raises: InvalidRequest for an image that cannot be decoded.
    """
    pil, picture = _decoded(image)
    color, resize = how.get("color", "RGB"), how.get("resize") or {}
    picture = picture.convert("L") if color == "GRAY" else picture
    if resize:
        kind = resize.get("interpolation", "bilinear").upper()
        picture = picture.resize(_target(resize, *picture.size), getattr(pil.Resampling, kind))
    height, width = how.get("crop") or resize["size"]
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    pixels = np.asarray(picture.crop((left, top, left + width, top + height))).reshape(height, width, -1)
    pixels = pixels[:, :, ::-1] if color == "BGR" else pixels
    if how.get("datatype") != "UINT8":
        mean, std = np.array(how.get("mean") or 0.0, np.float32), np.array(how.get("std") or 1.0, np.float32)
        pixels = (pixels.astype(np.float32) * np.float32(how.get("scale", 1.0)) - mean) / std
    laid_out = pixels.transpose(2, 0, 1) if how.get("layout", "NCHW") == "NCHW" else pixels
    return np.ascontiguousarray(laid_out[np.newaxis])


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max())
    probabilities: NDArray[np.float64] = powers / powers.sum()
    return probabilities


def _target(resize: dict[str, Any], width: int, height: int) -> tuple[int, int]:
    if "size" in resize:
        return resize["size"][1], resize["size"][0]
    scale = resize["short_side"] / min(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


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
