"""Explanations take no more turns at once than there are threads, so whoever else comes waits for one to end."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from PIL import Image

from cuelight.server.config import VisionConfig
from cuelight.server.errors import Overloaded
from cuelight.server.vision.explanation_turns import ExplanationTurns
from cuelight.server.vision.image_pool import ImagePool
from cuelight.server.vision.servicer import VisionServicer
from cuelight.vision.v1 import vision_pb2 as pb
from tests.server.vision.test_batches import CONTEXT, World
from tests.server.vision.test_batches import run as run_world
from tests.vision_models import photo

THREADS, EXPLANATIONS = 2, 9


@pytest.fixture(autouse=True)
def limit_of_pillow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the process Pillow's own limit back, which a pool takes over."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    yield


class Drawing:
    """An explanation's work on a thread, which is held in it until it is let go."""

    def __init__(self, begun: list[Any]) -> None:
        self.entered = threading.Event()
        self.gate = threading.Event()
        self._begun = begun

    def __call__(self) -> None:
        self._begun.append(self)
        self.entered.set()
        assert self.gate.wait(10), "the test never let it go"


async def explain(pool: ImagePool, turns: ExplanationTurns, *works: Callable[[], Any]) -> None:
    with turns.inside(), pool.line(1) as line:
        for work in works:
            async with turns.turn():
                await line.run(work)


@asynccontextmanager
async def explaining(pool: ImagePool, drawings: list[Drawing]) -> AsyncIterator[None]:
    """Draw all at once, two by each explanation; once the threads are held, the rest of them waits."""
    turns = ExplanationTurns(THREADS, EXPLANATIONS)
    pairs = zip(drawings[::2], drawings[1::2], strict=True)
    tasks = [asyncio.ensure_future(explain(pool, turns, *pair)) for pair in pairs]
    for held in drawings[: 2 * THREADS : 2]:
        await asyncio.to_thread(held.entered.wait, 10)
    yield
    for drawing in drawings:
        drawing.gate.set()
    await asyncio.gather(*tasks)
    await pool.stop()


def test_whoever_else_comes_waits_for_the_end_of_one_turn_however_many_explanations_wait() -> None:
    async def scenario() -> None:
        pool, begun = ImagePool(THREADS, 100), list[Any]()
        drawings = [Drawing(begun) for _ in range(2 * EXPLANATIONS)]
        async with explaining(pool, drawings):
            for turn in range(3):
                with pool.line(1) as line:
                    other = asyncio.ensure_future(line.run(partial(begun.append, turn)))
                    await asyncio.sleep(0)
                    begun[-1].gate.set()
                    await other
                while begun[-1] is turn:  # noqa: ASYNC110 (no event tells of it)
                    await asyncio.sleep(0)

        assert [begun.index(turn) for turn in range(3)] == [2, 4, 6]
        assert len(begun) == 3 + len(drawings)

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_explanations_have_their_turn_however_many_images_wait() -> None:
    async def scenario() -> None:
        pool, begun = ImagePool(THREADS, 1000), list[Any]()
        drawings = [Drawing(begun) for _ in range(2 * EXPLANATIONS)]
        async with explaining(pool, drawings):
            with pool.line(900) as many:
                images = [asyncio.ensure_future(many.run(partial(begun.append, number))) for number in range(900)]
                await asyncio.sleep(0)
                for drawing in drawings:
                    drawing.gate.set()
                await asyncio.gather(*images)

        assert len(begun) == 900 + len(drawings)
        assert not isinstance(begun[-1], Drawing)

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_one_explanation_too_many_is_refused_and_a_place_is_given_back() -> None:
    async def scenario() -> None:
        turns = ExplanationTurns(1, 1)
        with turns.inside():
            with turns.inside():
                with pytest.raises(Overloaded, match="2 explanations are inside, there is no room for another") as no:
                    turns.inside().__enter__()
                assert no.value.retry_after_s
            with turns.inside():
                pass

    asyncio.run(scenario())


def test_an_image_waits_for_no_more_explanations_in_the_model_than_have_a_turn() -> None:
    async def scenario(world: World) -> None:
        config = VisionConfig(threads=2, max_waiting_explanations=3)
        servicer = VisionServicer(world.models, world.way, config)
        occupied = await world.hold()
        request = pb.ExplainRequest(image=pb.Image(encoded=photo("red")), method=pb.OCCLUSION, occlusion_grid=2)
        explained = [asyncio.ensure_future(servicer.Explain(request, CONTEXT)) for _ in range(5)]
        await world.queued(2)
        with pytest.raises(Overloaded, match="5 explanations are inside"):
            await servicer.Explain(request, CONTEXT)
        one = asyncio.ensure_future(world.classify(photo("blue")))
        await world.queued(3)
        while world.counts.images_decoded < 6:  # noqa: ASYNC110 (no event tells of it)
            await asyncio.sleep(0)
        assert world.version.queue_depth == 3  # the image, and two of five explanations
        world.engine.let_go()
        await occupied

        assert (await one).results[0].labels[0].name == "blue"
        assert [response.label.name for response in await asyncio.gather(*explained)] == ["red"] * 5

    run_world(scenario)
