"""The way of one image: decoded on the pool, run in the batches of its model; and of many, each on its own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from numpy.typing import NDArray
from PIL import Image

from cuelight.server.errors import CuelightError, InferenceFailed, InvalidRequest
from cuelight.server.rpc.status import STATUS_OF_ERROR
from cuelight.server.vision.classification import probabilities_of, top_classes
from cuelight.server.vision.counts import VisionCounts
from cuelight.server.vision.image_facts import ImageFacts
from cuelight.server.vision.image_pool import ImageLine, ImagePool
from cuelight.server.vision.models import UsableModel
from cuelight.server.vision.overlay import reduced
from cuelight.server.vision.pictures import ImageLimits, picture_of
from cuelight.server.vision.preprocessing import Pixels
from cuelight.vision.v1 import vision_pb2 as pb

__all__ = ["ImageCall", "ImageWay", "Prepared", "error_of", "for_each", "labels_of"]

Arrays = dict[str, NDArray[Any]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is kept of an image: what it was, its size upright, and how its model takes it.

    `small` is the picture itself for a drawing of the map, no larger than asked for: the whole of it, up to 75 MB, is
    let go of before anything waits for the model.
    """

    info: pb.ImageInfo
    size: tuple[int, int]
    pixels: Pixels
    small: Image.Image | None = None


class ImageWay:
    """What every image goes through. Holds the pool, the limits and the counts; lives on the event loop."""

    def __init__(self, pool: ImagePool, limits: ImageLimits, counts: VisionCounts) -> None:
        self._pool = pool
        self.limits = limits
        self.counts = counts

    @contextmanager
    def call(self, model: UsableModel, images: int, deadline_s: float | None) -> "Iterator[ImageCall]":
        """Open the way for the images of one call. Raises: Overloaded when there is no room for all of them."""
        with self._pool.line(images) as line:
            yield ImageCall(self, line, model, deadline_s)


class ImageCall:
    """One call's images on their way. Lives on the event loop.

    No more of them than fill a batch are in the model's queue at a time, so that a call of many delays others by a
    batch, not by all of its own.
    """

    def __init__(self, way: ImageWay, line: ImageLine, model: UsableModel, deadline_s: float | None) -> None:
        self.model = model
        self._way = way
        self._line = line
        self._deadline_s = deadline_s
        self._queued = asyncio.Semaphore(max(1, model.version.signature.max_batch_size))

    async def prepare(self, image: pb.Image, keep: int = 0) -> Prepared:
        """Decode an image when it is the call's turn, prepare it and give its place back.

        `keep` is the longer side, in pixels, of the picture to be kept beside what the model takes; 0 keeps none.

        Raises: InvalidRequest saying what is wrong with it.
        """
        facts, limits = self.model.facts, self._way.limits
        try:
            prepared = await self._line.run(lambda: _prepared(image, facts, limits, keep))
        except InvalidRequest:
            self._way.counts.images_refused += 1
            raise
        finally:
            self._line.give_back()
        self._way.counts.images_decoded += 1
        return prepared

    async def run(self, pixels: Pixels) -> Arrays:
        """Run the model on images (images, ...) beside whoever else waits. Raises: as `ModelVersion.infer`."""
        async with self._queued:
            return await self.model.version.infer({self.model.facts.input: pixels}, deadline_s=self._deadline_s)

    async def classify(self, image: pb.Image, top_k: int) -> pb.ClassifiedImage:
        """Name what is on one image. Raises: InvalidRequest for the image; as `run`."""
        prepared = await self.prepare(image)
        outputs = await self.run(prepared.pixels[None])
        return pb.ClassifiedImage(labels=labels_of(self.model.facts, outputs, top_k), info=prepared.info)

    async def make(self, make: Callable[..., T], *of: Any) -> T:
        """Compute something on a thread when it is the call's turn."""
        return await self._line.run(lambda: make(*of))


def labels_of(facts: ImageFacts, outputs: Arrays, top_k: int) -> list[pb.Label]:
    """Return the most probable labels of a run of one row."""
    (probabilities,) = probabilities_of(outputs[facts.scores], facts.scores_are_logits)
    best = top_classes(probabilities, top_k)
    return [pb.Label(name=facts.labels[index], index=index, score=probabilities[index]) for index in best]


async def for_each(
    images: Sequence[pb.Image], do: Callable[[pb.Image], Awaitable[T]], failed: Callable[[pb.ImageError], T]
) -> list[T]:
    """Do something for each image at the same time; what is wrong with one image becomes its own result.

    Raises: what is wrong with more than an image, the first of it; the others are then given up.
    """

    async def one(index: int, image: pb.Image) -> T:
        try:
            return await do(image)
        except (InvalidRequest, InferenceFailed) as error:
            return failed(error_of(error, f"image {index}: "))

    if len(images) == 1:
        return [await one(0, images[0])]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(index, image)) for index, image in enumerate(images)]
    except* CuelightError as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def error_of(error: CuelightError, where: str = "") -> pb.ImageError:
    """Return an error as a result has it."""
    return pb.ImageError(code=STATUS_OF_ERROR[type(error)], message=f"{where}{error.message}")


def _prepared(image: pb.Image, facts: ImageFacts, limits: ImageLimits, keep: int) -> Prepared:
    """Decode and prepare; on a thread of the pool."""
    picture = picture_of(image, limits)
    width, height = facts.preprocessing.resized(*picture.image.size)
    if width * height > limits.max_pixels:
        raise InvalidRequest(
            f"{picture.image.width} x {picture.image.height} pixels would be resized to {width} x {height}, "
            f"the limit is {limits.max_pixels} pixels"
        )
    small = reduced(picture.image, keep) if keep else None
    return Prepared(picture.info(), picture.image.size, facts.preprocessing.apply(picture.image), small)
