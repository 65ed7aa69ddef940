"""What is sent as an image and what is told of one, as plain values."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import grpc
import numpy as np
from numpy.typing import NDArray

from cuelight.client.errors import CuelightClientError, InvalidRequest, error_of_status
from cuelight.client.vision import Classification
from cuelight.vision.v1 import vision_pb2 as pb

__all__ = [
    "EmbeddedImage",
    "ExplainOptions",
    "Explanation",
    "Frame",
    "FrameLabels",
    "ImageInfo",
    "ImageLabels",
    "ImageSource",
    "Region",
    "VisionModel",
    "explain_message",
    "explanation_from",
    "frame_labels_from",
    "image_message",
    "labels_from",
    "models_from",
    "vector_from",
]

ImageSource = bytes | str | Path | NDArray[np.uint8]
"""A JPEG, PNG or WebP file (its bytes or its path), or pixels uint8: (height, width, 3) RGB, (height, width, 4) of
which the fourth is not looked at, or (height, width) gray."""

Method = Literal["auto", "class_activation", "occlusion", "rise"]

_METHODS: dict[str, Any] = {
    "auto": pb.EXPLANATION_METHOD_UNSPECIFIED,
    "class_activation": pb.CLASS_ACTIVATION,
    "occlusion": pb.OCCLUSION,
    "rise": pb.RISE,
}
_FORMATS: dict[tuple[int, ...], Any] = {(3,): pb.RGB8, (4,): pb.RGBX8, (): pb.GRAY8}
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What the server found an image to be. Sizes are pixels after orientation; `notes` are for people."""

    format: str
    width: int
    height: int
    frame_count: int = 1
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageLabels:
    """What is on an image, most probable first; or the `error` it could not be used for."""

    labels: tuple[Classification, ...]
    info: ImageInfo | None = None
    error: CuelightClientError | None = None
    model: str = ""
    model_version: int = 0


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """An image's vector, (dimension,) float32, empty where there is an `error`."""

    vector: NDArray[np.float32]
    info: ImageInfo | None = None
    error: CuelightClientError | None = None
    model: str = ""
    model_version: int = 0


@dataclass(frozen=True, slots=True)
class ExplainOptions:
    """What to explain, and how. `target` is a class by name or place; None takes the most probable one.

    `occlusion_grid` places along the shorter side (2 to 32), `masks` and `seed` for RISE; `overlay` asks for a PNG
    whose longer side is `overlay_size` pixels at most. 0 leaves a number to the server.
    """

    target: str | int | None = None
    method: Method = "auto"
    occlusion_grid: int = 0
    masks: int = 0
    seed: int = 0
    overlay: bool = True
    overlay_size: int = 0


@dataclass(frozen=True, slots=True)
class Region:
    """A part of an image, in its pixels after orientation."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Which parts of an image speak for `label`: a map (rows, columns) float32 over `region`.

    By class activation the map's mean plus `bias` is the logit; by occlusion its numbers are probability lost, by RISE
    the mean probability where a place is visible. `runs` says how often the model was run.
    """

    label: Classification
    method: str
    values: NDArray[np.float32]
    bias: float
    region: Region
    overlay_png: bytes
    info: ImageInfo
    model: str
    model_version: int
    runs: int


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of live video; `id` and `time_ms` are the caller's own, and come back."""

    image: ImageSource
    id: int = 0
    time_ms: int = 0


@dataclass(frozen=True, slots=True)
class FrameLabels:
    """What is on a frame; `dropped` frames were left out between the answer before and this one."""

    id: int
    time_ms: int
    result: ImageLabels
    dropped: int
    dropped_total: int


@dataclass(frozen=True, slots=True)
class VisionModel:
    """A model that classifies images; `unusable` says why it cannot be used, where it cannot."""

    name: str
    version: int
    class_count: int
    embedding_dimension: int
    height: int
    width: int
    is_default: bool
    unusable: str = ""


def image_message(image: ImageSource) -> pb.Image:
    """Return an image as it is sent. Raises: InvalidRequest for pixels of another shape or type; OSError for a path."""
    if isinstance(image, bytes):
        return pb.Image(encoded=image)
    if isinstance(image, str | Path):
        return pb.Image(encoded=Path(image).read_bytes())
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in _FORMATS:
        raise InvalidRequest(
            f"expected pixels (height, width), (height, width, 3) or (height, width, 4) uint8, "
            f"got {image.shape} {image.dtype}"
        )
    height, width = image.shape[:2]
    raw = pb.RawPixels(data=image.tobytes(), width=width, height=height, format=_FORMATS[image.shape[2:]])
    return pb.Image(raw=raw)


def explain_message(image: ImageSource, model: str, options: ExplainOptions) -> pb.ExplainRequest:
    """Return the request for an explanation. Raises: InvalidRequest for a method that is none."""
    if options.method not in _METHODS:
        raise InvalidRequest(f'method "{options.method}": expected one of {", ".join(_METHODS)}')
    request = pb.ExplainRequest(
        model=model,
        image=image_message(image),
        method=_METHODS[options.method],
        occlusion_grid=options.occlusion_grid,
        masks=options.masks,
        seed=options.seed,
        overlay=options.overlay,
        overlay_size=options.overlay_size,
    )
    if isinstance(options.target, int):
        request.class_index = options.target
    elif options.target is not None:
        request.class_name = options.target
    return request


def labels_from(result: pb.ClassifiedImage, model: str, version: int) -> ImageLabels:
    """Return a result of the wire as a plain value."""
    return ImageLabels(_labels(result.labels), *_about(result), model, version)


def vector_from(result: pb.EmbeddedImage, model: str, version: int) -> EmbeddedImage:
    """Return a result of the wire as a plain value."""
    return EmbeddedImage(np.array(result.vector, np.float32), *_about(result), model, version)


def explanation_from(response: pb.ExplainResponse) -> Explanation:
    """Return an explanation of the wire as a plain value."""
    region, names = response.region, {value: name for name, value in _METHODS.items()}
    return Explanation(
        label=_labels([response.label])[0],
        method=names.get(response.method, str(response.method)),
        values=np.array(response.values, np.float32).reshape(response.rows, response.columns),
        bias=response.bias,
        region=Region(region.left, region.top, region.width, region.height),
        overlay_png=response.overlay_png,
        info=_info(response.info),
        model=response.model,
        model_version=response.model_version,
        runs=response.runs,
    )


def frame_labels_from(response: pb.ClassifyFramesResponse) -> FrameLabels:
    """Return an answer to a frame as a plain value."""
    result = labels_from(response.result, response.model, response.model_version)
    return FrameLabels(response.frame_id, response.time_ms, result, response.dropped, response.dropped_total)


def models_from(response: pb.ListModelsResponse) -> list[VisionModel]:
    """Return the models of the wire as plain values."""
    return [
        VisionModel(
            model.name,
            model.version,
            model.class_count,
            model.embedding_dimension,
            model.height,
            model.width,
            model.is_default,
            model.unusable,
        )
        for model in response.models
    ]


def _labels(labels: Iterable[pb.Label]) -> tuple[Classification, ...]:
    return tuple(Classification(label.name, label.score, label.index) for label in labels)


def _about(result: Any) -> tuple[ImageInfo | None, CuelightClientError | None]:
    info = _info(result.info) if result.HasField("info") else None
    if not result.HasField("error"):
        return info, None
    return info, error_of_status(_CODES.get(result.error.code, ""), result.error.message)


def _info(info: pb.ImageInfo) -> ImageInfo:
    return ImageInfo(info.format, info.width, info.height, info.frame_count, tuple(info.notes))
