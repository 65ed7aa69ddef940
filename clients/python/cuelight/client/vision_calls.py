"""The calls of the vision service as values. Both clients make the same ones."""

from collections.abc import Iterable, Iterator

from cuelight.client.calls import Call
from cuelight.client.images import (
    EmbeddedImage,
    ExplainOptions,
    Explanation,
    Frame,
    ImageLabels,
    ImageSource,
    VisionModel,
    explain_message,
    explanation_from,
    image_message,
    labels_from,
    models_from,
    vector_from,
)
from cuelight.vision.v1 import vision_pb2 as pb

__all__ = [
    "FRAMES_PATH",
    "classify_calls",
    "embed_calls",
    "explain_call",
    "frame_request",
    "frames_config",
    "models_call",
]

_SERVICE = "/cuelight.vision.v1.VisionService"
FRAMES_PATH = f"{_SERVICE}/ClassifyFrames"
_IMAGES_A_CALL = 16
_BYTES_A_CALL = 16 * 1024 * 1024
"""Well within the server's limits of 64 images and 64 MiB; one larger image goes alone."""


def classify_calls(images: Iterable[ImageSource], model: str, top_k: int) -> Iterator[Call[list[ImageLabels]]]:
    """Yield the calls that name all images, in their order."""
    for cut in _cut(images):
        request = pb.ClassifyRequest(model=model, images=cut, top_k=top_k)
        yield Call(f"{_SERVICE}/Classify", request, pb.ClassifyResponse, _named)


def embed_calls(images: Iterable[ImageSource], model: str, normalize: bool) -> Iterator[Call[list[EmbeddedImage]]]:
    """Yield the calls that turn all images into vectors, in their order."""
    for cut in _cut(images):
        request = pb.EmbedRequest(model=model, images=cut, normalize=normalize)
        yield Call(f"{_SERVICE}/Embed", request, pb.EmbedResponse, _embedded)


def explain_call(image: ImageSource, model: str, options: ExplainOptions | None) -> Call[Explanation]:
    """Return the call for an explanation."""
    request = explain_message(image, model, options if options is not None else ExplainOptions())
    return Call(f"{_SERVICE}/Explain", request, pb.ExplainResponse, explanation_from)


def models_call() -> Call[list[VisionModel]]:
    """Return the call for the models."""
    return Call(f"{_SERVICE}/ListModels", pb.ListModelsRequest(), pb.ListModelsResponse, models_from)


def frames_config(model: str, top_k: int, max_waiting: int) -> pb.ClassifyFramesRequest:
    """Return the first message of a stream of frames."""
    config = pb.FramesConfig(model=model, top_k=top_k, max_waiting=max_waiting)
    return pb.ClassifyFramesRequest(config=config)


def frame_request(given: Frame | ImageSource) -> pb.ClassifyFramesRequest:
    """Return a frame as it is sent; an image alone is one without id and time."""
    frame = given if isinstance(given, Frame) else Frame(given)
    message = pb.Frame(id=frame.id, time_ms=frame.time_ms, image=image_message(frame.image))
    return pb.ClassifyFramesRequest(frame=message)


def _cut(images: Iterable[ImageSource]) -> Iterator[list[pb.Image]]:
    cut: list[pb.Image] = []
    size_bytes = 0
    for image in images:
        message = image_message(image)
        image_bytes = message.ByteSize()
        if cut and (len(cut) >= _IMAGES_A_CALL or size_bytes + image_bytes > _BYTES_A_CALL):
            yield cut
            cut, size_bytes = [], 0
        cut.append(message)
        size_bytes += image_bytes
    if cut:
        yield cut


def _named(response: pb.ClassifyResponse) -> list[ImageLabels]:
    return [labels_from(result, response.model, response.model_version) for result in response.results]


def _embedded(response: pb.EmbedResponse) -> list[EmbeddedImage]:
    return [vector_from(result, response.model, response.model_version) for result in response.results]
