"""The vision service for asyncio: the calls, values and errors of `cuelight.client.vision_service`."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from typing import TypeVar

from cuelight.client import vision_calls as calls
from cuelight.client.async_channel import AsyncChannel
from cuelight.client.calls import Call
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

__all__ = ["AsyncVisionClient"]

Answer = TypeVar("Answer")


class AsyncVisionClient:
    """Calls on one server, from the tasks of one event loop; each as in `VisionClient`."""

    def __init__(self, channel: AsyncChannel) -> None:
        self._channel = channel

    async def classify(
        self, image: ImageSource, *, model: str = "", top_k: int = 5, timeout_s: float | None = None
    ) -> ImageLabels:
        """Return what is on an image."""
        [result] = await self.classify_many([image], model=model, top_k=top_k, timeout_s=timeout_s)
        if result.error is not None:
            raise result.error
        return result

    async def classify_many(
        self, images: Iterable[ImageSource], *, model: str = "", top_k: int = 5, timeout_s: float | None = None
    ) -> list[ImageLabels]:
        """Return what is on each image, in their order."""
        results: list[ImageLabels] = []
        for call in calls.classify_calls(images, model, top_k):
            answered = await self._answered(call, timeout_s)
            results += answered
        return results

    async def embed(
        self, image: ImageSource, *, model: str = "", normalize: bool = False, timeout_s: float | None = None
    ) -> EmbeddedImage:
        """Return an image's vector."""
        [result] = await self.embed_many([image], model=model, normalize=normalize, timeout_s=timeout_s)
        if result.error is not None:
            raise result.error
        return result

    async def embed_many(
        self, images: Iterable[ImageSource], *, model: str = "", normalize: bool = False, timeout_s: float | None = None
    ) -> list[EmbeddedImage]:
        """Return each image's vector, in their order."""
        results: list[EmbeddedImage] = []
        for call in calls.embed_calls(images, model, normalize):
            answered = await self._answered(call, timeout_s)
            results += answered
        return results

    async def explain(
        self,
        image: ImageSource,
        options: ExplainOptions | None = None,
        *,
        model: str = "",
        timeout_s: float | None = None,
    ) -> Explanation:
        """Return which parts of an image speak for a class."""
        return await self._answered(calls.explain_call(image, model, options), timeout_s)

    async def classify_frames(
        self, frames: AsyncIterable[Frame | ImageSource], *, model: str = "", top_k: int = 1, max_waiting: int = 1
    ) -> AsyncGenerator[FrameLabels, None]:
        """Yield what is on live frames, as they come; close the iterator (`aclosing`) to leave early."""

        async def requests() -> AsyncGenerator[pb.ClassifyFramesRequest, None]:
            yield calls.frames_config(model, top_k, max_waiting)
            async for frame in frames:
                yield calls.frame_request(frame)

        streamed = self._channel.stream(calls.FRAMES_PATH, requests(), pb.ClassifyFramesResponse)
        async with aclosing(streamed) as responses:
            async for response in responses:
                yield frame_labels_from(response)

    async def models(self, *, timeout_s: float | None = None) -> list[VisionModel]:
        """Return the models that classify images."""
        return await self._answered(calls.models_call(), timeout_s)

    async def _answered(self, call: Call[Answer], timeout_s: float | None) -> Answer:
        return call.read(await self._channel.call(call.path, call.request, call.response_type, timeout_s))
