"""The way of one image: decoded on the pool, run in the batches of its model; and of many, each on its own."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from numpy.typing import NDArray

from cuelight.server.errors import CuelightError, InferenceFailed, InvalidRequest
from cuelight.server.rpc.status import STATUS_OF_ERROR
from cuelight.server.vision.classification import probabilities_of, top_classes
from cuelight.server.vision.counts import VisionCounts
from cuelight.server.vision.image_facts import ImageFacts
from cuelight.server.vision.image_pool import ImagePool
from cuelight.server.vision.models import UsableModel
from cuelight.server.vision.pictures import ImageLimits, Picture, picture_of
from cuelight.server.vision.preprocessing import Pixels
from cuelight.vision.v1 import vision_pb2 as pb

__all__ = ["ImageWay", "Prepared", "error_of", "for_each", "labels_of"]

Arrays = dict[str, NDArray[Any]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image as it came, and as its model takes it."""

    picture: Picture
    pixels: Pixels


class ImageWay:
    """What every image goes through. Holds the pool, the limits and the counts; lives on the event loop."""

    def __init__(self, pool: ImagePool, limits: ImageLimits, counts: VisionCounts) -> None:
        self.pool = pool
        self.counts = counts
        self._limits = limits

    async def prepare(self, image: pb.Image, facts: ImageFacts) -> Prepared:
        """Decode an image and prepare it. Raises: InvalidRequest saying what is wrong with it; Overloaded."""
        try:
            prepared = await self.pool.run(lambda: _prepared(image, facts, self._limits))
        except InvalidRequest:
            self.counts.images_refused += 1
            raise
        self.counts.images_decoded += 1
        return prepared

    async def run(self, model: UsableModel, pixels: Pixels, deadline_s: float | None) -> Arrays:
        """Run the model on one image, in a batch with whoever else waits. Raises: as `ModelVersion.infer`."""
        return await model.version.infer({model.facts.input: pixels[None]}, deadline_s=deadline_s)

    async def classify(
        self, model: UsableModel, image: pb.Image, top_k: int, deadline_s: float | None
    ) -> pb.ClassifiedImage:
        """Name what is on one image. Raises: InvalidRequest for the image; as `run`."""
        prepared = await self.prepare(image, model.facts)
        outputs = await self.run(model, prepared.pixels, deadline_s)
        labels = labels_of(model.facts, outputs, top_k)
        return pb.ClassifiedImage(labels=labels, info=prepared.picture.info())


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


def _prepared(image: pb.Image, facts: ImageFacts, limits: ImageLimits) -> Prepared:
    """Decode and prepare; on a thread of the pool."""
    picture = picture_of(image, limits)
    width, height = facts.preprocessing.resized(*picture.image.size)
    if width * height > limits.max_pixels:
        raise InvalidRequest(
            f"{picture.image.width} x {picture.image.height} pixels would be resized to {width} x {height}, "
            f"the limit is {limits.max_pixels} pixels"
        )
    return Prepared(picture, facts.preprocessing.apply(picture.image))
