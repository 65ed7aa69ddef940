"""The threads that decode: a bounded line before them, and nothing done for whom has left."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest
from PIL import Image

from cuelight.server.errors import InvalidRequest, Overloaded
from cuelight.server.vision.image_pool import ImagePool


@pytest.fixture(autouse=True)
def limit_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the process Pillow's own limit back, which a pool takes over."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


def run(scenario: Callable[[ImagePool], Coroutine[Any, Any, None]], threads: int = 1, max_waiting: int = 2) -> None:
    async def whole() -> None:
        pool = ImagePool(threads, max_waiting)
        try:
            await scenario(pool)
        finally:
            await pool.stop()
        await asyncio.sleep(0)
        assert pool.inside == 0

    asyncio.run(asyncio.wait_for(whole(), 30))


class Held:
    """Work that a thread is held in until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self._gate = threading.Event()

    def __call__(self) -> str:
        self.entered.set()
        assert self._gate.wait(10), "the test never let it go"
        return "held"

    def let_go(self) -> None:
        self._gate.set()


async def started(pool: ImagePool, work: Callable[[], Any]) -> "asyncio.Task[Any]":
    task = asyncio.ensure_future(pool.run(work))
    await asyncio.sleep(0)
    return task


def test_what_work_returns_and_raises_reaches_its_caller() -> None:
    async def scenario(pool: ImagePool) -> None:
        def refuse() -> None:
            raise InvalidRequest("no image")

        assert await pool.run(lambda: 7) == 7
        with pytest.raises(InvalidRequest, match="no image"):
            await pool.run(refuse)

    run(scenario)


def test_a_full_line_refuses_at_once_and_lets_in_again() -> None:
    async def scenario(pool: ImagePool) -> None:
        held = Held()
        inside = [await started(pool, held), await started(pool, lambda: 1), await started(pool, lambda: 2)]

        with pytest.raises(Overloaded, match="3 images wait") as caught:
            await pool.run(lambda: 3)
        held.let_go()

        assert caught.value.retry_after_s
        assert await asyncio.gather(*inside) == ["held", 1, 2]
        assert pool.refused == 1
        assert await pool.run(lambda: 4) == 4

    run(scenario)


def test_what_nobody_waits_for_any_more_is_never_done() -> None:
    async def scenario(pool: ImagePool) -> None:
        done: list[int] = []
        held = Held()
        first = await started(pool, held)
        left = await started(pool, lambda: done.append(1))
        stays = await started(pool, lambda: done.append(2))

        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        held.let_go()
        await asyncio.gather(first, stays)

        assert done == [2]

    run(scenario)


def test_whoever_leaves_while_a_thread_works_for_him_takes_no_room_for_good() -> None:
    async def scenario(pool: ImagePool) -> None:
        held = Held()
        left = await started(pool, held)
        await asyncio.to_thread(held.entered.wait)
        left.cancel()
        held.let_go()

        for number in range(5):
            assert await pool.run(partial(int, number)) == number

    run(scenario, max_waiting=1)
