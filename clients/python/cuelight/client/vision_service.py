"""What is on images, what they are alike to and why; files and pixels go to the server as they are.

Nothing is decoded here, so neither Pillow nor the model's description is needed. Unary calls may be made again without
harm, and are, as the channel's `RetryPolicy` says. Every call can raise NotFound, Unsupported, Unavailable, Overloaded
and DeadlineExceeded; what else is said at each.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from cuelight.client import vision_calls as calls
from cuelight.client.calls import Call
from cuelight.client.channel import Channel
from cuelight.client.images import (
    EmbeddedImage,
    ExplainOptions,
    Explanation,
    Frame,
    FrameLabels,
    ImageLabels,
    ImageSource,
    VisionModel,
    frame_labels_from,
)
from cuelight.vision.v1 import vision_pb2 as pb

__all__ = ["VisionClient"]

Answer = TypeVar("Answer")


class VisionClient:
    """Calls on one server; for any number of threads. An empty `model` takes the server's default."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def classify(
        self, image: ImageSource, *, model: str = "", top_k: int = 5, timeout_s: float | None = None
    ) -> ImageLabels:
        """Return what is on an image. Raises: InvalidRequest, also for an image that cannot be used."""
        [result] = self.classify_many([image], model=model, top_k=top_k, timeout_s=timeout_s)
        if result.error is not None:
            raise result.error
        return result

    def classify_many(
        self, images: Iterable[ImageSource], *, model: str = "", top_k: int = 5, timeout_s: float | None = None
    ) -> list[ImageLabels]:
        """Return what is on each image, in their order; one that cannot be used has its `error`.

        Sent 16 at a time; each such call has `timeout_s`. Raises: InvalidRequest for a wrong option.
        """
        made = calls.classify_calls(images, model, top_k)
        return [result for call in made for result in self._answered(call, timeout_s)]

    def embed(
        self, image: ImageSource, *, model: str = "", normalize: bool = False, timeout_s: float | None = None
    ) -> EmbeddedImage:
        """Return an image's vector; of length 1 with `normalize`. Raises: as `classify`."""
        [result] = self.embed_many([image], model=model, normalize=normalize, timeout_s=timeout_s)
        if result.error is not None:
            raise result.error
        return result

    def embed_many(
        self, images: Iterable[ImageSource], *, model: str = "", normalize: bool = False, timeout_s: float | None = None
    ) -> list[EmbeddedImage]:
        """Return each image's vector, in their order; as `classify_many`."""
        made = calls.embed_calls(images, model, normalize)
        return [result for call in made for result in self._answered(call, timeout_s)]

    def explain(
        self,
        image: ImageSource,
        options: ExplainOptions | None = None,
        *,
        model: str = "",
        timeout_s: float | None = None,
    ) -> Explanation:
        """Return which parts of an image speak for a class. Raises: InvalidRequest for image, class or option."""
        return self._answered(calls.explain_call(image, model, options), timeout_s)

    def classify_frames(
        self, frames: Iterable[Frame | ImageSource], *, model: str = "", top_k: int = 1, max_waiting: int = 1
    ) -> Iterator[FrameLabels]:
        """Yield what is on live frames, as they come; frames the server cannot keep up with are dropped, oldest first.

        A frame that cannot be used has its error in `result`. Leaving the iteration ends the stream. The stream has no
        state, so after Unavailable begin another one elsewhere. Raises: InvalidRequest for a wrong option.
        """

        def requests() -> Iterator[pb.ClassifyFramesRequest]:
            yield calls.frames_config(model, top_k, max_waiting)
            yield from map(calls.frame_request, frames)

        for response in self._channel.stream(calls.FRAMES_PATH, requests(), pb.ClassifyFramesResponse):
            yield frame_labels_from(response)

    def models(self, *, timeout_s: float | None = None) -> list[VisionModel]:
        """Return the models that classify images."""
        return self._answered(calls.models_call(), timeout_s)

    def _answered(self, call: Call[Answer], timeout_s: float | None) -> Answer:
        return call.read(self._channel.call(call.path, call.request, call.response_type, timeout_s))
